"""Tensors as values: what each is made of, and the mappings between the two sides' names."""
