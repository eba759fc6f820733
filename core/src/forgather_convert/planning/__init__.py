"""Makes plans: complete descriptions of what a conversion will write."""
