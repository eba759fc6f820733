"""DeepSeek: a module for each model type."""
