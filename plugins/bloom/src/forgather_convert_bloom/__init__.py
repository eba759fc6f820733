"""BLOOM: a module for each model type."""
