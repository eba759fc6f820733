"""Cohere: a module for each model type."""
