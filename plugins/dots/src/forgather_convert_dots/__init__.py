"""dots: a module for each model type."""
