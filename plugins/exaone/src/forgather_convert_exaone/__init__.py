"""EXAONE: a module for each model type."""
