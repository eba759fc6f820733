"""Learned position embeddings."""

from typing import Any

import torch
from torch import nn

from .input_encoder import InputEncoder


class LearnedPositions(InputEncoder):
    """Adds a position vector to each token's vector.

    Gehring et al., "Convolutional Sequence to Sequence Learning", 2017.
    """

    def __init__(self, config: Any, embedding: nn.Module) -> None:
        super().__init__(config, embedding)
        self.position_embedding = nn.Embedding(config.max_position_embeddings, config.hidden_size)

    def forward(
        self,
        input_ids: torch.Tensor | None,
        inputs_embeds: torch.Tensor | None,
        position_ids: torch.Tensor,
    ) -> torch.Tensor:
        embedded = self.embedding(input_ids) if inputs_embeds is None else inputs_embeds
        hidden_states: torch.Tensor = embedded + self.position_embedding(position_ids)
        return hidden_states if self.dropout is None else self.dropout(hidden_states)
