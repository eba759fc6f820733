"""Makes adapters with PEFT, and loads them."""

import warnings
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model


def write_adapter(directory: Path, model: Any, **config: Any) -> Path:
    """Writes an adapter of a model as PEFT saves it, every tensor of it at random.

    Args:
        directory: Where; it is created.
        model: The base model; it is changed.
        config: The arguments of ``LoraConfig``.
    """
    adapted = get_peft_model(model, LoraConfig(r=2, task_type="CAUSAL_LM", **config))
    generator = torch.Generator().manual_seed(3)
    for name, parameter in adapted.named_parameters():
        if parameter.requires_grad:
            center = 1.0 if "norm" in name else 0.0
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.1 + center
    with warnings.catch_warnings():
        # PEFT saves the matrix of an embedding with its adapter, and says so.
        warnings.filterwarnings("ignore", "Setting .save_embedding_layers. to .True.")
        adapted.save_pretrained(str(directory))
    return directory


def with_adapter(model: Any, directory: Path) -> Any:
    """A model with an adapter from a directory."""
    return PeftModel.from_pretrained(model, directory).eval()
