"""The two kinds of model, as values."""
