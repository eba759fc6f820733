"""Carries a plan out: bytes into a staging directory, then the directory into place."""
