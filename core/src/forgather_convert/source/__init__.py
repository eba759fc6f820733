"""What the source is: detection, checkpoints, config files, the tokenizer's directory."""
