"""Whether two directories hold the same model."""
