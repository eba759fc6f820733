"""Where converters are found, and which one is chosen."""
