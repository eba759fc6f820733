"""Vocabulary extension: new tokens, special tokens, and the rows of the matrices for them."""
