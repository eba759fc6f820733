"""The table of token vectors."""

from typing import Any, ClassVar

import torch
from torch import nn


class TokenEmbedding(nn.Module):
    """Looks token ids up: ``[batch, sequence]`` -> ``[batch, sequence, hidden]``.

    A config may have another size for the vectors, ``embedding_size``.
    """

    tp_plan: ClassVar[dict[str, str]] = {"word_embedding": "embedding_rowwise"}

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.word_embedding = nn.Embedding(
            config.vocab_size,
            getattr(config, "embedding_size", config.hidden_size),
            padding_idx=self.padding_id(config),
        )

    def padding_id(self, config: Any) -> int | None:
        """The token whose vector gets no gradient."""
        padding_id: int | None = config.pad_token_id
        return padding_id

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        embedded: torch.Tensor = self.word_embedding(input_ids)
        return embedded


class UnpaddedTokenEmbedding(TokenEmbedding):
    """An embedding in which every token's vector gets a gradient."""

    def padding_id(self, config: Any) -> int | None:
        return None


class ScaledTokenEmbedding(TokenEmbedding):
    """Multiplies vectors by the square root of their size, rounded to their dtype.

    Vaswani et al., "Attention Is All You Need", 2017.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.scale = config.hidden_size**0.5

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        embedded = super().forward(input_ids)
        return embedded * torch.tensor(self.scale, dtype=embedded.dtype, device=embedded.device)
