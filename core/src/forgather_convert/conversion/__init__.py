"""What the conversions of models and of adapters have in common, and what differs."""
