"""Learned position embeddings."""

from typing import Any

import torch
from torch import nn

from .context import Context
from .input_encoder import InputEncoder


class LearnedPositions(InputEncoder):
    """Adds a position vector to each token's vector.

    Gehring et al., "Convolutional Sequence to Sequence Learning", 2017.
    """

    def __init__(self, config: Any, embedding: nn.Module) -> None:
        super().__init__(config, embedding)
        self.position_embedding = nn.Embedding(config.max_position_embeddings, config.hidden_size)

    def embed(self, context: Context) -> torch.Tensor:
        hidden_states: torch.Tensor = super().embed(context)
        return hidden_states + self.position_embedding(context.position_ids)
