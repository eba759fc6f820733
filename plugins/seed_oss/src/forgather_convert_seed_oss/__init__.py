"""Seed-OSS: a module for each model type."""
