"""Llama: a module for each model type."""
