"""The layers of OPT."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from .additive_mask_layer_stack import AdditiveMaskLayerStack


class ProjectedLayerStack(AdditiveMaskLayerStack):
    """A layer stack whose output is projected to the size of the token vectors, if that differs.

    It has no norm of its own if the layers end with one.
    """

    def __init__(self, config: Any, layers: Iterable[nn.Module], layer_norm: nn.Module) -> None:
        super().__init__(config, layers, layer_norm)
        if not config.do_layer_norm_before:
            self.layer_norm = None
        hidden, size = config.hidden_size, config.embedding_size
        self.projection = None if size == hidden else nn.Linear(hidden, size, bias=False)

    def forward(
        self, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, tuple[Any, ...] | None, tuple[Any, ...] | None]:
        hidden_states, all_hidden_states, attentions = super().forward(*args, **kwargs)
        if self.projection is not None:
            hidden_states = self.projection(hidden_states)
        return hidden_states, all_hidden_states, attentions
