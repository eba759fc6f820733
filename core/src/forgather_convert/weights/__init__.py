"""Weights on disk: where every tensor's bytes lie, without reading them."""
