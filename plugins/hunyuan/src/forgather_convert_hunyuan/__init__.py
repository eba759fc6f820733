"""Hunyuan: a module for each model type."""
