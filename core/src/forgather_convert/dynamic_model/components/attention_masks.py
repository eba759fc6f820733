"""Masks: which positions each layer may attend to, and which ones are padding."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import transformers
from transformers import masking_utils
from transformers.masking_utils import create_causal_mask

from .cache_arguments import CACHE, NEEDS_CACHE_POSITION

# Versions of transformers name the argument differently.
_PARAMETERS = inspect.signature(create_causal_mask).parameters
_INPUTS_EMBEDS = "inputs_embeds" if "inputs_embeds" in _PARAMETERS else "input_embeds"


def create_recurrent_mask(attention_mask: Any = None, **arguments: Any) -> torch.Tensor | None:
    """Which positions are not padding, ``[batch, sequence]``, or ``None`` if there is no padding.

    It is for layers with a state, and for versions of transformers that have no such function.
    """
    length = arguments[_INPUTS_EMBEDS].shape[1]
    if attention_mask is None or attention_mask.dim() != 2 or length == 1:
        return None
    if bool((attention_mask == 1).all()):
        return None
    mask: torch.Tensor = attention_mask[:, -length:]
    return mask


# transformers 4 gives convolutions the mask of attention.
_IS_VERSION_4 = transformers.__version__.startswith("4.")
# The mask of each kind of layer, or all masks of a kind with several: transformers' own table, with
# what its older versions lack.
_FUNCTIONS: dict[str, Callable[..., Any] | Mapping[str, Callable[..., Any]]] = {
    "linear_attention": create_recurrent_mask,
    "conv": create_causal_mask if _IS_VERSION_4 else create_recurrent_mask,
    "hybrid": {"full_attention": create_causal_mask, "linear_attention": create_recurrent_mask},
    "mlp": {},
    "moe": {},
    **masking_utils.LAYER_PATTERN_TO_MASK_FUNCTION_MAPPING,
}
# The names of the masks of each kind of layer, and how they are made.
_MASKS: dict[str, tuple[tuple[str, Callable[..., Any]], ...]] = {
    kind: tuple(functions.items()) if isinstance(functions, Mapping) else ((kind, functions),)
    for kind, functions in _FUNCTIONS.items()
}
# The masks for mixers other than attention.
_RECURRENT = ("linear_attention", "conv")


def attention_types(config: Any) -> list[str]:
    """The kind of every layer, such as ``"full_attention"`` or ``"sliding_attention"``.

    Given by ``layer_types`` if a model mixes several; otherwise all layers slide if a window is
    set.
    """
    layer_types = getattr(config, "layer_types", None)
    if layer_types is not None:
        return list(layer_types)
    has_window = getattr(config, "sliding_window", None) is not None
    return ["sliding_attention" if has_window else "full_attention"] * config.num_hidden_layers


def masks_of_layer(kind: str) -> dict[str, str]:
    """The masks that a kind of layer gets: the name of each argument, and of the mask for it.

    The arguments are ``attention_mask`` for attention, and ``recurrent_mask`` for other mixers.
    """
    if kind not in _MASKS:
        raise ValueError(f"There are no masks for layers of the kind {kind!r}.")
    return {
        "recurrent_mask" if name in _RECURRENT else "attention_mask": name
        for name, _ in _MASKS[kind]
    }


def create_attention_masks(
    config: Any,
    kinds: Iterable[str],
    inputs_embeds: torch.Tensor,
    attention_mask: Any,
    past_key_values: Any,
    position_ids: torch.Tensor,
    cache_position: torch.Tensor | None,
) -> dict[str, Any]:
    """Creates the masks for all kinds of layers, in the form that their implementation needs.

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
    masks: dict[str, Any] = {}
    for kind in kinds:
        for name, make in _MASKS[kind]:
            if name not in masks:
                masks[name] = make(**arguments)
    return masks
