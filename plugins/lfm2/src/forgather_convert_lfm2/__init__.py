"""LFM2: a module for each model type."""
