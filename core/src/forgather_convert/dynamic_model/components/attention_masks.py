"""Attention masks: which positions each layer may attend to."""

import inspect
from collections.abc import Iterable
from typing import Any

import torch
from transformers.masking_utils import create_causal_mask, create_sliding_window_causal_mask

from .cache_arguments import CACHE, NEEDS_CACHE_POSITION

_FUNCTIONS = {
    "full_attention": create_causal_mask,
    "sliding_attention": create_sliding_window_causal_mask,
}
# Versions of transformers name the argument differently.
_PARAMETERS = inspect.signature(create_causal_mask).parameters
_INPUTS_EMBEDS = "inputs_embeds" if "inputs_embeds" in _PARAMETERS else "input_embeds"


def attention_types(config: Any) -> list[str]:
    """The kind of every layer: ``"full_attention"`` or ``"sliding_attention"``.

    Given by ``layer_types`` if a model mixes the two; otherwise all layers slide if a window is
    set.
    """
    layer_types = getattr(config, "layer_types", None)
    if layer_types is not None:
        return list(layer_types)
    has_window = getattr(config, "sliding_window", None) is not None
    return ["sliding_attention" if has_window else "full_attention"] * config.num_hidden_layers


def create_attention_masks(
    config: Any,
    kinds: Iterable[str],
    inputs_embeds: torch.Tensor,
    attention_mask: Any,
    past_key_values: Any,
    position_ids: torch.Tensor,
    cache_position: torch.Tensor | None,
) -> dict[str, Any]:
    """Creates a mask for each kind of attention, in the form that its implementation needs.

    ``attention_mask`` is ``[batch, sequence]`` with 0 at padding, a complete mask, a dictionary of
    complete masks, or ``None``. ``cache_position`` is required if ``NEEDS_CACHE_POSITION``.
    """
    if isinstance(attention_mask, dict):
        return attention_mask
    arguments = {
        "config": config,
        _INPUTS_EMBEDS: inputs_embeds,
        "attention_mask": attention_mask,
        CACHE: past_key_values,
        "position_ids": position_ids,
    }
    if NEEDS_CACHE_POSITION:
        arguments["cache_position"] = cache_position
    return {kind: _FUNCTIONS[kind](**arguments) for kind in kinds}
