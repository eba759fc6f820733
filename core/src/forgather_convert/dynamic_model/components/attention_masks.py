"""Which positions each layer may attend to."""

import inspect
from typing import Any

import torch
from transformers.masking_utils import create_causal_mask, create_sliding_window_causal_mask


def attention_types(config: Any) -> list[str]:
    """For every layer ``"full_attention"`` or ``"sliding_attention"``.

    ``layer_types`` says it where a model mixes the two; otherwise all layers slide
    when a window is set.
    """
    layer_types = getattr(config, "layer_types", None)
    if layer_types is not None:
        return list(layer_types)
    has_window = getattr(config, "sliding_window", None) is not None
    return ["sliding_attention" if has_window else "full_attention"] * config.num_hidden_layers


def create_attention_masks(
    config: Any,
    inputs_embeds: torch.Tensor,
    attention_mask: Any,
    past_key_values: Any,
    position_ids: torch.Tensor,
    cache_position: torch.Tensor,
) -> dict[str, Any]:
    """A mask for each kind of attention in the model, in the form its implementation wants.

    ``attention_mask`` is ``[batch, sequence]`` with 0 at padding, a mask that is ready
    for use, a dictionary of such masks, or ``None``.
    """
    kinds = set(attention_types(config))
    if isinstance(attention_mask, dict):
        return attention_mask
    arguments = {
        "config": config,
        "inputs_embeds": inputs_embeds,
        "input_embeds": inputs_embeds,
        "attention_mask": attention_mask,
        "past_key_values": past_key_values,
        "cache": past_key_values,
        "position_ids": position_ids,
        "cache_position": cache_position,
    }
    functions = {
        "full_attention": create_causal_mask,
        "sliding_attention": create_sliding_window_causal_mask,
    }
    masks = {}
    for kind in sorted(kinds):
        # Versions of transformers name the arguments differently.
        accepted = inspect.signature(functions[kind]).parameters
        masks[kind] = functions[kind](**{k: v for k, v in arguments.items() if k in accepted})
    return masks
