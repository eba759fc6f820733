"""Caches for models with mixers that have a state."""

import inspect
from typing import Any

import torch
from torch import nn
from transformers import cache_utils

#: Whether transformers' ordinary cache also has states. In versions before 5.5, the classes of
#: models have caches of their own.
HAS_RECURRENT_CACHE = hasattr(cache_utils, "LinearAttentionLayer")


def create_cache(model: Any, inputs: torch.Tensor) -> Any:
    """An empty cache of transformers for a batch: of the class that the model's mixers need.

    Args:
        model: The model, whose mixers may have an attribute ``cache_class``.
        inputs: Token ids or their vectors, ``[batch, sequence, ...]``.
    """
    modules: list[nn.Module] = [*model.modules()]
    classes = (getattr(module, "cache_class", None) for module in modules)
    cache_class = next((each for each in classes if each is not None), cache_utils.DynamicCache)
    batch_size, device = inputs.shape[0], inputs.device
    # Their constructors differ.
    values = {
        "config": model.config,
        "batch_size": batch_size,
        "max_batch_size": batch_size,
        "dtype": model.dtype,
        "device": device,
        "devices": [device] * model.config.num_hidden_layers,
    }
    names = inspect.signature(cache_class).parameters
    return cache_class(**{name: value for name, value in values.items() if name in names})


def num_seen(cache: Any) -> int:
    """The number of positions in a cache, if there is one.

    States do not tell it. Without attention, no layer needs it, and it is 0.
    """
    layers = getattr(cache, "layers", None) or []
    has_states_only = len(layers) > 0 and not any(
        isinstance(layer, cache_utils.CacheLayerMixin) for layer in layers
    )
    return 0 if cache is None or has_states_only else int(cache.get_seq_length())
