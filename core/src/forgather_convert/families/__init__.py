"""Converters: hook specifications, the base class, and calls of hooks."""
