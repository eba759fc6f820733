"""The stack of layers and the final norm."""

from collections.abc import Iterable
from itertools import islice
from typing import Any

import torch
from torch import nn

from .attention_masks import attention_types, masks_of_layer


class _Layers(nn.ModuleList):
    """The layers by number, some of which may be missing.

    Tools divide a model among devices in two ways. The Forgather framework deletes layers by
    name, as from an ``nn.ModuleDict``, and the others keep their names. vLLM looks for an
    ``nn.ModuleList`` and replaces layers in it.
    """

    def keys(self) -> Iterable[str]:
        """The numbers of the layers, as strings."""
        return self._modules.keys()

    def items(self) -> Iterable[tuple[str, Any]]:
        """Each layer with its number, as a string."""
        return self._modules.items()

    def __delitem__(self, index: int | slice | str) -> None:
        if isinstance(index, str):
            del self._modules[index]
        else:
            super().__delitem__(index)


class LayerStack(nn.Module):
    """Runs the layers in order, each with the masks and the positions of its kind.

    As in transformers, the config may be changed to fewer layers than there are
    (``assistant_early_exit`` does that); the others are skipped. A stage of a pipeline has only
    some of the layers, and the norm only if it has the last one.
    """

    def __init__(self, config: Any, layers: Iterable[nn.Module], layer_norm: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.layers = _Layers(layers)
        self.layer_norm: nn.Module | None = layer_norm
        self.attention_types = {str(i): kind for i, kind in enumerate(attention_types(config))}
        kinds = dict.fromkeys(self.attention_types.values())
        self.masks = [(kind, tuple(masks_of_layer(kind).items())) for kind in kinds]

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_masks: dict[str, Any],
        position_embeddings: dict[str, Any],
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, tuple[Any, ...] | None, tuple[Any, ...] | None]:
        """Returns the normalized output, and if requested all hidden states and attention weights.

        The hidden states are the input of every layer and the normalized output:
        one more than there are layers.
        """
        all_hidden_states: tuple[Any, ...] | None = () if output_hidden_states else None
        all_attentions: list[Any] | None = [] if output_attentions else None
        arguments: dict[str, dict[str, Any]] = {}
        for kind, masks in self.masks:
            arguments[kind] = {argument: attention_masks[name] for argument, name in masks}
        for index, layer in islice(self.layers.items(), self.config.num_hidden_layers):
            kind = self.attention_types[index]
            if all_hidden_states is not None:
                all_hidden_states += (hidden_states,)
            hidden_states = layer(
                hidden_states,
                position_embeddings=position_embeddings.get(kind),
                all_attentions=all_attentions,
                **arguments[kind],
                **kwargs,
            )
        if self.layer_norm is not None:
            hidden_states = self.layer_norm(hidden_states)
        if all_hidden_states is not None:
            all_hidden_states += (hidden_states,)
        attentions = None if all_attentions is None else tuple(all_attentions)
        return hidden_states, all_hidden_states, attentions
