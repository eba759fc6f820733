"""A layer with attention and another mixer side by side."""

from typing import Any

import torch
from torch import nn

from .pre_norm_mixer_layer import PreNormMixerLayer


class HybridLayer(PreNormMixerLayer):
    """``x + mixer(norm1(x)) + attention(norm1(x))``, then ``x + feedforward(norm2(x))``.

    Inputs and outputs of both have factors. Falcon Team, "Falcon-H1", 2025.
    """

    def __init__(
        self,
        config: Any,
        attention: nn.Module,
        mixer: nn.Module,
        feedforward: nn.Module,
        norm1: nn.Module,
        norm2: nn.Module,
    ) -> None:
        super().__init__(config, mixer, feedforward, norm1, norm2)
        self.attention = attention
        self.mixer_factor = config.ssm_out_multiplier
        self.attention_factors = config.attention_in_multiplier, config.attention_out_multiplier

    def mix(
        self, hidden_states: torch.Tensor, recurrent_mask: Any = None, **kwargs: Any
    ) -> torch.Tensor:
        mixed = super().mix(hidden_states, recurrent_mask=recurrent_mask, **kwargs)
        mixed = mixed * self.mixer_factor
        before, after = self.attention_factors
        attended = self.attention(hidden_states * before, **kwargs) * after
        result: torch.Tensor = mixed + attended
        return result
