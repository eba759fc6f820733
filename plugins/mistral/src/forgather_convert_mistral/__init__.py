"""Mistral and Mixtral: a module for each model type."""
