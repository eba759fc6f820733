"""The stack of layers and the norm behind the last."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from .attention_masks import attention_types


class LayerStack(nn.Module):
    """Runs the layers in order, each with the mask and the positions of its kind of attention."""

    def __init__(self, config: Any, layers: Iterable[nn.Module], layer_norm: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.layer_norm = layer_norm
        self.attention_types = attention_types(config)

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_masks: dict[str, Any],
        position_embeddings: dict[str, Any],
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, tuple[Any, ...] | None, tuple[Any, ...] | None]:
        """Gives the normalised output, all hidden states and all attention weights, if asked for.

        The hidden states are the input of every layer and the normalised output:
        one more than there are layers.
        """
        all_hidden_states: tuple[Any, ...] | None = () if output_hidden_states else None
        all_attentions: tuple[Any, ...] | None = () if output_attentions else None
        for layer, kind in zip(self.layers, self.attention_types, strict=True):
            if all_hidden_states is not None:
                all_hidden_states += (hidden_states,)
            hidden_states, weights = layer(
                hidden_states,
                attention_mask=attention_masks[kind],
                position_embeddings=position_embeddings.get(kind),
                **kwargs,
            )
            if all_attentions is not None:
                all_attentions += (weights,)
        hidden_states = self.layer_norm(hidden_states)
        if all_hidden_states is not None:
            all_hidden_states += (hidden_states,)
        return hidden_states, all_hidden_states, all_attentions
