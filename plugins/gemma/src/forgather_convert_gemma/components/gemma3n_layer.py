"""The layer of Gemma 3n: several streams, a low-rank residual and an input of its own."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .altup import AltUp
from .per_layer_input import PerLayerInput
from .sandwich_norm_layer import SandwichNormLayer


class LowRankResidual(nn.Module):
    """Adds a normalized product of low rank (``laurel_rank`` in the config) to its input.

    Menghani et al., "LAuReL: Learned Augmented Residual Layer", 2025.
    """

    def __init__(self, config: Any, make_norm: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.down = nn.Linear(config.hidden_size, config.laurel_rank, bias=False)
        self.up = nn.Linear(config.laurel_rank, config.hidden_size, bias=False)
        self.norm = make_norm()

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        added: torch.Tensor = self.norm(self.up(self.down(hidden_states)))
        return hidden_states + added


class Gemma3nLayer(SandwichNormLayer):
    """A layer with sandwich norms that runs on one stream of several and corrects the others.

    Streams are ``[streams, batch, sequence, hidden]``. The layer's own input is added to all
    streams but the first.

    Gemma Team, "Gemma 3n", 2025.
    """

    def __init__(
        self,
        config: Any,
        attention: nn.Module,
        feedforward: nn.Module,
        norm1: nn.Module,
        norm2: nn.Module,
        norm3: nn.Module,
        norm4: nn.Module,
        make_norm: Callable[[], nn.Module],
    ) -> None:
        super().__init__(attention, feedforward, norm1, norm2, norm3, norm4)
        self.active, self.has_scale = config.altup_active_idx, config.altup_correct_scale
        self.altup = AltUp(config, make_norm)
        self.low_rank = LowRankResidual(config, make_norm)
        self.own_input = PerLayerInput(config, make_norm)

    def forward(
        self, hidden_states: torch.Tensor, own: torch.Tensor | None = None, **kwargs: Any
    ) -> torch.Tensor:
        predictions = self.altup.predict(hidden_states)
        active = predictions[self.active]
        normalized = self.norm1(active)
        low_rank = self.low_rank(normalized)
        attended = active + self.norm2(self.attention(normalized, **kwargs))
        attended = (attended + low_rank) / math.sqrt(2)
        computed = attended + self.norm4(self.feedforward(self.norm3(attended)))
        corrected: torch.Tensor = self.altup.correct(predictions, computed)
        # The addition below changes it.
        active = corrected[self.active].clone()
        if self.has_scale:
            active = self.altup(active)
        corrected[1:] += self.own_input(active, own)
        return corrected
