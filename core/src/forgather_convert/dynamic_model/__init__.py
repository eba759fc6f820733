"""The dynamic model: its components, and the generator of its code."""
