"""Attention that rotates neighbouring dimensions in float32."""

import torch

from .interleaved_attention import InterleavedAttention


class WideInterleavedAttention(InterleavedAttention):
    """Interleaved attention whose rotation is rounded once, at its end."""

    def rotate(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        rotated = super().rotate(query.float(), key.float(), position_embeddings)
        return rotated[0].to(query.dtype), rotated[1].to(key.dtype)
