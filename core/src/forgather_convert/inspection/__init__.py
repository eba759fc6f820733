"""What a directory holds, from names, JSON and headers: no weights are read, no code runs."""
