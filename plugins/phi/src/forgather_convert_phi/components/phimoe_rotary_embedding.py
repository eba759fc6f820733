"""The rotary positions of Phi-3.5-MoE."""

import torch

from .context import Context
from .rotary_embedding import RotaryEmbedding


class PhimoeRotaryEmbedding(RotaryEmbedding):
    """A rotary embedding whose frequencies do not depend on the length of the sequence.

    With a RoPE type other than the default, cosines and sines are multiplied by ``short_mscale``,
    or by ``long_mscale`` if the sequence is longer than the original length.
    """

    def forward(
        self, hidden_states: torch.Tensor, context: Context
    ) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """Returns cos and sin, ``[batch, 1, sequence, rotary_dim]``, in the input's dtype."""
        (embedding,) = self.embeddings
        if embedding.rope_type == "default":
            return super().forward(hidden_states, context)
        position_ids = context.position_ids
        inv_freq, _ = embedding.select(torch.zeros(1), hidden_states.device)
        is_long = position_ids.max() >= embedding.rope.original_length
        scale = embedding.rope.parameters["long_mscale" if is_long else "short_mscale"]
        angles = self.join(position_ids[:, None, :, None].float() * inv_freq)
        cos, sin = angles.cos() * scale, angles.sin() * scale
        table = cos.to(hidden_states.dtype), sin.to(hidden_states.dtype)
        return dict.fromkeys(self.kinds, table)
