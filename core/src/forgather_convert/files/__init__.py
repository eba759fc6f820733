"""Bounded reading of JSON and text, and what is known of a file before it is read."""
