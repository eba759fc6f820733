"""Models in memory, plain or sharded, as sources and targets of the same conversions."""
