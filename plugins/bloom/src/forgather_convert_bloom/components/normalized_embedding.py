"""An input encoder with a norm."""

from typing import Any

import torch
from torch import nn

from .context import Context
from .input_encoder import InputEncoder


class NormalizedEmbedding(InputEncoder):
    """Normalizes the vectors of the tokens."""

    def __init__(self, config: Any, embedding: nn.Module, norm: nn.Module) -> None:
        super().__init__(config, embedding)
        self.norm = norm

    def embed(self, context: Context) -> torch.Tensor:
        vectors: torch.Tensor = self.norm(super().embed(context))
        return vectors
