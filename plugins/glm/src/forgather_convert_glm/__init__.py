"""GLM: a module for each model type."""
