"""Vocabulary extension: new tokens, special tokens, and their rows in the matrices."""
