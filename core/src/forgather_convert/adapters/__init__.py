"""Converts PEFT adapters: from the modules of one model to those of its counterpart."""
