"""Detects and reads the source: its kind, checkpoints, config files and tokenizer directory."""
