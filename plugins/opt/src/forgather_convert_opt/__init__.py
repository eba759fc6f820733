"""OPT: a module for each model type."""
