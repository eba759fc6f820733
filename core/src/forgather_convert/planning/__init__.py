"""Plans: what a conversion will do, complete before it writes the first byte."""
