"""Nemotron: a module for each model type."""
