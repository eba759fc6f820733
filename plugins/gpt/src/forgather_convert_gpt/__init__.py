"""GPT-2, GPT-NeoX and gpt-oss: a module for each model type."""
