"""Apertus: a module for each model type."""
