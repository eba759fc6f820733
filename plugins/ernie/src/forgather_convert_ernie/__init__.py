"""ERNIE: a module for each model type."""
