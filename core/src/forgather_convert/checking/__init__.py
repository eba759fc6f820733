"""Looks into a converter without a real model: ``forgather converters show`` and ``check``."""
