"""OLMo: a module for each model type."""
