"""Learned positions that are counted from the first token, not from the padding before it."""

from typing import Any

import torch
from torch import nn

from .context import Context
from .input_encoder import InputEncoder

# The vectors before that of the first position: padding has the one at index 1.
_OFFSET = 2


class UnpaddedPositions(InputEncoder):
    """Adds a position vector to each token's vector, which may have to be projected first.

    Zhang et al., "OPT: Open Pre-trained Transformer Language Models", 2022.
    """

    def __init__(self, config: Any, embedding: nn.Module) -> None:
        super().__init__(config, embedding)
        hidden, size = config.hidden_size, config.embedding_size
        self.position_embedding = nn.Embedding(config.max_position_embeddings + _OFFSET, hidden)
        self.projection = None if size == hidden else nn.Linear(size, hidden, bias=False)

    def positions(self, context: Context) -> torch.Tensor:
        """``[batch or 1, sequence]``, with -1 at padding, unless they are given."""
        mask = context.padding_mask
        if mask is None or context.has_given_positions:
            return context.position_ids
        positions = (mask.cumsum(dim=1) * mask - 1).long()
        return positions[:, context.num_seen :]

    def embed(self, context: Context) -> torch.Tensor:
        vectors: torch.Tensor = super().embed(context)
        if self.projection is not None:
            vectors = self.projection(vectors)
        return vectors + self.position_embedding(self.positions(context) + _OFFSET)
