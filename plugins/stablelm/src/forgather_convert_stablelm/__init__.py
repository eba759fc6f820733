"""StableLM: a module for each model type."""
