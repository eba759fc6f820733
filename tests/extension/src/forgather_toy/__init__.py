"""An extension for tests."""
