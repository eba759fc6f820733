"""Attention with linear biases."""

import math
from typing import Any

import torch
from torch import nn

from .attention_masks import attention_types
from .context import Context


def slopes(num_heads: int) -> torch.Tensor:
    """A factor for each head, ``[heads]``: a geometric sequence.

    If their number is not a power of two, every other factor of the next longer sequence follows.
    """
    power = 2 ** math.floor(math.log2(num_heads))

    def powers(count: int, last: int, step: int) -> torch.Tensor:
        base = torch.tensor(2 ** (-(2 ** -(math.log2(count) - 3))), dtype=torch.float32)
        return torch.pow(base, torch.arange(1, 1 + last, step, dtype=torch.int32))

    if power == num_heads:
        return powers(power, power, 1)
    others = min(power, num_heads - power)
    return torch.cat((powers(power, power, 1), powers(2 * power, 2 * others, 2)))


class Alibi(nn.Module):
    """The bias of each key's scores: its position, times a factor for each head.

    The biases are the same for all queries, since a constant added to all scores of a query has no
    effect. Padding does not count. Press, Smith and Lewis, "Train Short, Test Long", 2022.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.kinds = sorted(set(attention_types(config)))
        self.num_heads = config.num_attention_heads

    def factors(self) -> torch.Tensor:
        """The factor of each head, ``[heads]``."""
        return slopes(self.num_heads)

    def forward(self, hidden_states: torch.Tensor, context: Context) -> dict[str, torch.Tensor]:
        """Returns ``[batch * heads, 1, keys]``, in the input's dtype."""
        batch, length = hidden_states.shape[:2]
        mask = context.padding_mask
        if mask is None:
            shape = batch, context.num_seen + length
            mask = torch.ones(shape, dtype=torch.long, device=hidden_states.device)
        positions = ((mask.cumsum(dim=-1) - 1) * mask)[:, None, :]
        # Models are built on the meta device.
        with torch.device("cpu"):
            factors = self.factors()
        biases = factors.to(hidden_states.device)[..., None] * positions
        biases = biases.reshape(batch * self.num_heads, 1, -1).to(hidden_states.dtype)
        return dict.fromkeys(self.kinds, biases)
