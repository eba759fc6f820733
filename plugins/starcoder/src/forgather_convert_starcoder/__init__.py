"""StarCoder: a module for each model type."""
