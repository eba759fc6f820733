"""Turns token ids into the first hidden states."""

from typing import Any

import torch
from torch import nn


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

    def forward(
        self,
        input_ids: torch.Tensor | None,
        inputs_embeds: torch.Tensor | None,
        position_ids: torch.Tensor,
    ) -> torch.Tensor:
        """Returns ``[batch, sequence, hidden]`` for token ids or for their vectors."""
        hidden_states: torch.Tensor = (
            self.embedding(input_ids) if inputs_embeds is None else inputs_embeds
        )
        if self.multiplier is not None:
            hidden_states = hidden_states * self.multiplier
        if self.dropout is not None:
            hidden_states = self.dropout(hidden_states)
        return hidden_states
