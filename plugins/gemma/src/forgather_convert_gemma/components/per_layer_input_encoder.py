"""Turns token ids into the first hidden states, and into an input for each layer."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .context import Context
from .input_encoder import InputEncoder


def rounded_product(vectors: torch.Tensor, factor: float) -> torch.Tensor:
    """Multiplies by a factor that is rounded to their dtype first."""
    return vectors * torch.tensor(factor, dtype=vectors.dtype, device=vectors.device)


class PerLayerInputEncoder(InputEncoder):
    """Embeds the tokens, and if ``hidden_size_per_layer_input`` is set, once more for each layer.

    The layer's own vector of a token is averaged with a projection of its embedding.

    Gemma Team, "Gemma 4", 2026.
    """

    def __init__(
        self, config: Any, embedding: nn.Module, make_norm: Callable[[int], nn.Module]
    ) -> None:
        super().__init__(config, embedding)
        self.size = config.hidden_size_per_layer_input
        if not self.size:
            return
        self.num_layers, self.projection_scale = config.num_hidden_layers, config.hidden_size**-0.5
        self.per_layer_embedding = nn.Embedding(
            config.vocab_size_per_layer_input,
            self.num_layers * self.size,
            padding_idx=config.pad_token_id,
        )
        self.per_layer_projection = nn.Linear(
            config.hidden_size, self.num_layers * self.size, bias=False
        )
        self.per_layer_norm = make_norm(self.size)

    def forward(self, context: Context) -> torch.Tensor:
        hidden_states = super().forward(context)
        if self.size:
            context.per_layer_inputs = self.per_layer_inputs(context, hidden_states)
        return hidden_states

    def per_layer_inputs(self, context: Context, hidden_states: torch.Tensor) -> torch.Tensor:
        """The input of every layer, ``[batch, sequence, layers, size]``."""
        shape = (*hidden_states.shape[:-1], self.num_layers, self.size)
        vectors = self.own_vectors(context, hidden_states)
        projected = self.scaled(self.per_layer_projection(hidden_states), self.projection_scale)
        normalized: torch.Tensor = self.per_layer_norm(projected.reshape(shape))
        if vectors is None:
            return normalized
        return self.scaled(normalized + vectors.reshape(shape), 2.0**-0.5)

    def own_vectors(self, context: Context, hidden_states: torch.Tensor) -> torch.Tensor | None:
        """The layers' own vectors of the tokens; ``None`` if they have none."""
        if context.per_layer_inputs is not None:
            return context.per_layer_inputs
        return self.looked_up(self.token_ids(context, hidden_states))

    def looked_up(self, token_ids: torch.Tensor) -> torch.Tensor:
        """The vectors of tokens in the table for the layers."""
        return rounded_product(self.per_layer_embedding(token_ids), self.size**0.5)

    def scaled(self, vectors: torch.Tensor, factor: float) -> torch.Tensor:
        """Multiplies by a factor that is not rounded to their dtype."""
        return vectors * factor

    @torch.no_grad()
    def token_ids(self, context: Context, hidden_states: torch.Tensor) -> torch.Tensor:
        """The tokens; if only their embeddings are given, those that have these embeddings."""
        if context.input_ids is not None:
            return context.input_ids
        size = self.embedding.word_embedding.num_embeddings
        table = self.embedding(torch.arange(size, device=hidden_states.device))
        is_same = (hidden_states[:, :, None] == table[None, None]).all(dim=-1)
        if not bool((is_same.sum(dim=-1) == 1).all()):
            raise ValueError(
                "Some of the inputs_embeds are not the embedding of exactly one token. Each layer "
                "needs an input of its own: give them as per_layer_inputs, or give input_ids."
            )
        return is_same.int().argmax(dim=-1)
