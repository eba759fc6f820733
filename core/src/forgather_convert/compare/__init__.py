"""Compares two model directories, and the configs of a conversion's source and result."""
