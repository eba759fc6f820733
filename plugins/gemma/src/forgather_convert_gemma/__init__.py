"""Gemma: a module for each model type."""
