"""The stack of layers and the norm behind the last."""

from collections.abc import Iterable
from itertools import islice
from typing import Any

import torch
from torch import nn

from .attention_masks import attention_types


class LayerStack(nn.Module):
    """Runs the layers in order, each with the mask and the positions of its kind of attention.

    As in transformers, the config may be changed to have fewer layers than there are
    (``assistant_early_exit`` does that): the others are left out.
    """

    def __init__(self, config: Any, layers: Iterable[nn.Module], layer_norm: nn.Module) -> None:
        super().__init__()
        self.config = config
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
        all_attentions: list[Any] | None = [] if output_attentions else None
        layers = islice(self.layers, self.config.num_hidden_layers)
        for layer, kind in zip(layers, self.attention_types, strict=False):
            if all_hidden_states is not None:
                all_hidden_states += (hidden_states,)
            hidden_states = layer(
                hidden_states,
                attention_mask=attention_masks[kind],
                position_embeddings=position_embeddings.get(kind),
                all_attentions=all_attentions,
                **kwargs,
            )
        hidden_states = self.layer_norm(hidden_states)
        if all_hidden_states is not None:
            all_hidden_states += (hidden_states,)
        attentions = None if all_attentions is None else tuple(all_attentions)
        return hidden_states, all_hidden_states, attentions
