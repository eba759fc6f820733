"""SmolLM: a module for each model type."""
