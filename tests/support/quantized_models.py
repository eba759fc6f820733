"""Writes quantized Hugging Face models, as they are published, from random weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from support.models import random_state, write_hf_model
from support.variants import Variant

#: What is published unquantized.
_KEPT = ("embed_tokens", "lm_head", "norm")
_LARGEST = torch.finfo(torch.float8_e4m3fn).max


def quantized(tensor: torch.Tensor, block: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """A matrix as 8-bit numbers, and the scale of each block; the last blocks may be smaller."""
    rows, columns = (range(0, size, step) for size, step in zip(tensor.shape, block, strict=True))
    numbers = torch.empty(tensor.shape, dtype=torch.float8_e4m3fn)
    scales = torch.empty(len(rows), len(columns))
    for row, top in enumerate(rows):
        for column, left in enumerate(columns):
            part = (slice(top, top + block[0]), slice(left, left + block[1]))
            values = tensor[part].to(torch.float32)
            scales[row, column] = values.abs().max() / _LARGEST
            numbers[part] = (values / scales[row, column]).to(numbers.dtype)
    return numbers, scales


def fp8_state(
    variant: Variant, block: tuple[int, int], dtype: torch.dtype = torch.bfloat16
) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint like DeepSeek-V3's or Qwen3-FP8's."""
    state: dict[str, torch.Tensor] = {}
    for name, tensor in random_state(variant, dtype).items():
        state[name] = tensor
        if tensor.dim() == 2 and not any(part in name for part in _KEPT):
            state[name], state[f"{name}_scale_inv"] = quantized(tensor, block)
    return state


def write_fp8_model(
    directory: Path,
    variant: Variant,
    block: tuple[int, int] = (16, 16),
    shards: int = 1,
    change: Callable[[dict[str, torch.Tensor]], None] | None = None,
    quantization: dict[str, Any] | None = None,
) -> Path:
    """Writes a model directory with FP8 weights.

    Args:
        directory: Where; it is created.
        variant: The model.
        block: The rows and columns that share a scale.
        shards: Into how many files the weights are divided.
        change: Is applied to the tensors before they are written.
        quantization: Fields of ``quantization_config`` that are other than the usual.
    """
    state = fp8_state(variant, block)
    if change is not None:
        change(state)
    described = {
        "activation_scheme": "dynamic",
        "fmt": "e4m3",
        "quant_method": "fp8",
        "weight_block_size": [*block],
        **(quantization or {}),
    }
    config = {**variant.config(), "dtype": "bfloat16", "quantization_config": described}
    return write_hf_model(directory, variant, state=state, config=config, shards=shards)
