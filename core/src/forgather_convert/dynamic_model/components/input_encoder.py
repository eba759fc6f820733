"""Turns token ids into the first hidden states."""

from typing import Any

import torch
from torch import nn

from .context import Context


class InputEncoder(nn.Module):
    """Embeds the tokens. Positions are added later, in the attention.

    A config may have a factor for the vectors, ``embedding_multiplier``, and a dropout
    probability, ``embedding_dropout``. Both also apply to ``inputs_embeds``.
    """

    def __init__(self, config: Any, embedding: nn.Module) -> None:
        super().__init__()
        self.embedding = embedding
        self.multiplier = getattr(config, "embedding_multiplier", None)
        probability = getattr(config, "embedding_dropout", 0.0)
        self.dropout = nn.Dropout(probability) if probability else None

    def embed(self, context: Context) -> torch.Tensor:
        """The vectors of the tokens, or those that were given."""
        vectors: torch.Tensor | None = context.inputs_embeds
        if vectors is None:
            vectors = self.embedding(context.input_ids)
        if self.multiplier is not None:
            vectors = vectors * self.multiplier
        return vectors

    def forward(self, context: Context) -> torch.Tensor:
        """Returns the first hidden states, ``[batch, sequence, hidden]``."""
        hidden_states = self.embed(context)
        return hidden_states if self.dropout is None else self.dropout(hidden_states)
