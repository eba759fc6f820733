"""The rotary positions of GPT-J, for adjacent dimensions."""

from typing import Any

import torch
from torch import nn

from .attention_masks import attention_types
from .context import Context
from .experts_implementation import HAS_STACKED_EXPERTS


class GPTJPositions(nn.Module):
    """Cosines and sines for the first ``rotary_dim`` dimensions of each head.

    transformers 4 computes the frequencies in the dtype in which the model is loaded, even if that
    is a narrow one.
    """

    #: The dtype of cosines and sines, if it is not that of the hidden states.
    dtype: torch.dtype | None = None

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.kinds = sorted(set(attention_types(config)))
        dtype = torch.float32 if HAS_STACKED_EXPERTS else torch.get_default_dtype()
        # Models are built on the meta device.
        with torch.device("cpu"):
            exponents = torch.arange(0, config.rotary_dim, 2).to(dtype) / config.rotary_dim
            self.frequencies = 1.0 / (10000**exponents)

    def forward(
        self, hidden_states: torch.Tensor, context: Context
    ) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """Returns cos and sin, ``[batch, sequence, 1, rotary_dim]``."""
        positions = context.position_ids[:, :, None, None].float()
        angles = positions * self.frequencies.to(hidden_states.device)
        dtype = self.dtype or hidden_states.dtype
        cos, sin = (
            table.to(dtype).repeat_interleave(2, dim=-1) for table in (angles.cos(), angles.sin())
        )
        return dict.fromkeys(self.kinds, (cos, sin))


class WideGPTJPositions(GPTJPositions):
    """The same in float32, whatever the hidden states are."""

    dtype = torch.float32
