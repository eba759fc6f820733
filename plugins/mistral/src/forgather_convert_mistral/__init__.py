"""Mistral, Ministral and Mixtral: a module for each model type."""
