"""Jamba: a module for each model type."""
