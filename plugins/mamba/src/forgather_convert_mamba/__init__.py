"""Mamba: a module for each model type."""
