"""Qwen3: a module for each model type."""
