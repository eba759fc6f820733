"""The state spaces of Falcon-H1."""

from typing import Any

import torch
from torch import nn
from transformers.models.falcon_h1.modeling_falcon_h1 import FalconH1Mixer, compute_mup_vector

from .transformers_mixer import TransformersMixer, set_new


class ScaledStateSpace(TransformersMixer, FalconH1Mixer):
    """Mamba 2 with factors for the parts of its input. The module is transformers'."""

    def __init__(self, config: Any, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        self.factors: Any = config
        self.mup_vector = nn.Buffer(compute_mup_vector(config), persistent=False)

    def initialize(self) -> None:
        """Sets the parameters that transformers initializes by itself, and the factors."""
        set_new(self.A_log, torch.log(torch.arange(1, self.num_heads + 1)))
        set_new(self.D, torch.ones_like(self.D))
        set_new(self.dt_bias, torch.ones_like(self.dt_bias))
        set_new(self.mup_vector, compute_mup_vector(self.factors))
