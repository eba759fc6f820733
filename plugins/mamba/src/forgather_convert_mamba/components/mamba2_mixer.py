"""The selective state spaces of Mamba 2."""

import math
from typing import Any

import torch
from torch import nn
from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer

from .transformers_mixer import TransformersMixer, set_new


class StateSpace(TransformersMixer, Mamba2Mixer):
    """Mamba 2, behind a short convolution. The module is transformers'.

    Dao and Gu, "Transformers are SSMs", 2024.
    """

    def __init__(self, config: Any, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        self.num_layers = config.num_hidden_layers if config.rescale_prenorm_residual else 1

    def forward(
        self, hidden_states: torch.Tensor, past_key_values: Any = None, **kwargs: Any
    ) -> torch.Tensor:
        """Trains without a cache, in contrast to other families."""
        if self.training:
            past_key_values = None
        return super().forward(hidden_states, past_key_values=past_key_values, **kwargs)

    def initialize(self) -> None:
        """Sets the parameters that transformers initializes by itself."""
        low, high = math.log(self.time_step_min), math.log(self.time_step_max)
        steps = torch.empty_like(self.dt_bias).uniform_(low, high).exp()
        steps = steps.clamp(min=self.time_step_floor)
        # The inverse of softplus.
        set_new(self.dt_bias, steps + torch.log(-torch.expm1(-steps)))
        set_new(self.A_log, torch.log(torch.arange(1, self.num_heads + 1)))
        set_new(self.D, torch.ones_like(self.D))
        for parameter, divisor in (
            (self.conv1d.weight, 1),
            (self.out_proj.weight, self.num_layers),
        ):
            new = nn.init.kaiming_uniform_(torch.empty_like(parameter), a=math.sqrt(5))
            set_new(parameter, new / math.sqrt(divisor))
