"""Tools for authors of converters: ``forgather converters show``, ``check`` and ``new``."""
