"""Conversions of models and of adapters, with a common interface."""
