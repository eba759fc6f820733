"""Helium: a module for each model type."""
