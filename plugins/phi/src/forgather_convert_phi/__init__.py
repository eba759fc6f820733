"""Phi: a module for each model type."""
