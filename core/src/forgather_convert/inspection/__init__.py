"""Describes a directory by names, JSON and headers; reads no weights and runs no code."""
