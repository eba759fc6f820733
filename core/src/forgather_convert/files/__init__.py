"""Bounded reading of JSON and text, and states of files."""
