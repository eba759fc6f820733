"""Writes the files of a new converter distribution: ``forgather converters new``."""
