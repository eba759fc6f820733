"""Tensors as expressions, and mappings between the names of two models."""
