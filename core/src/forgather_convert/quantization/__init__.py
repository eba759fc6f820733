"""Formats of quantized weights, and how their values are computed."""
