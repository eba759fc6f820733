"""MiniMax: a module for each model type."""
