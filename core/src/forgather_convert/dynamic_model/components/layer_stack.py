"""The stack of layers and the final norm."""

from collections.abc import Iterable
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
        all_hidden_states: list[Any] | None = [] if output_hidden_states else None
        all_attentions: list[Any] | None = [] if output_attentions else None
        hidden_states = self.run(
            hidden_states,
            attention_masks,
            position_embeddings,
            slice(None),
            all_hidden_states=all_hidden_states,
            all_attentions=all_attentions,
            **kwargs,
        )
        if self.layer_norm is not None:
            hidden_states = self.layer_norm(hidden_states)
        if all_hidden_states is not None:
            all_hidden_states.append(hidden_states)
        return (
            hidden_states,
            None if all_hidden_states is None else tuple(all_hidden_states),
            None if all_attentions is None else tuple(all_attentions),
        )

    def run(
        self,
        hidden_states: torch.Tensor,
        attention_masks: dict[str, Any],
        position_embeddings: dict[str, Any],
        part: slice,
        *,
        all_hidden_states: list[Any] | None = None,
        per_layer_inputs: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Runs a part of the layers, and adds their inputs to ``all_hidden_states``.

        If there are inputs for each layer, ``[batch, sequence, layers, size]``, a layer gets its
        own as the second argument: by position, as gradient checkpointing requires.
        """
        arguments: dict[str, dict[str, Any]] = {}
        for kind, masks in self.masks:
            arguments[kind] = {argument: attention_masks[name] for argument, name in masks}
        numbers = range(self.config.num_hidden_layers)[part]
        for index, layer in self.layers.items():
            if int(index) not in numbers:
                continue
            kind = self.attention_types[index]
            if all_hidden_states is not None:
                all_hidden_states.append(hidden_states)
            own = () if per_layer_inputs is None else (per_layer_inputs[:, :, int(index)],)
            hidden_states = layer(
                hidden_states,
                *own,
                position_embeddings=position_embeddings.get(kind),
                **arguments[kind],
                **kwargs,
            )
        return hidden_states
