"""Falcon: a module for each model type."""
