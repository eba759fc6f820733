"""Granite: a module for each model type."""
