"""What a converter is: hook specifications, the base class, and the calls of its hooks."""
