"""The state spaces of Granite."""

from typing import Any

import torch
from transformers.models.granitemoehybrid.modeling_granitemoehybrid import (
    GraniteMoeHybridMambaLayer,
)

from .transformers_mixer import TransformersMixer, set_new


class GraniteStateSpace(TransformersMixer, GraniteMoeHybridMambaLayer):
    """Mamba 2, behind a short convolution. The module is transformers'.

    Dao and Gu, "Transformers are SSMs", 2024.
    """

    def __init__(self, config: Any, layer_idx: int) -> None:
        super().__init__(config, layer_idx)

    def initialize(self) -> None:
        """Sets the parameters that transformers initializes by itself."""
        set_new(self.A_log, torch.log(torch.arange(1, self.num_heads + 1)))
        set_new(self.D, torch.ones_like(self.D))
        set_new(self.dt_bias, torch.ones_like(self.dt_bias))
