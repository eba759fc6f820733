"""Compares what was converted with what it was converted from."""
