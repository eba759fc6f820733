"""The selective state spaces of Nemotron-H."""

import math
from typing import Any, ClassVar

import torch
from transformers.models.nemotron_h import modeling_nemotron_h
from transformers.models.nemotron_h.modeling_nemotron_h import NemotronHMamba2Mixer

from .transformers_mixer import TransformersMixer, set_new


class StateSpace(TransformersMixer, NemotronHMamba2Mixer):
    """Mamba 2, behind a short convolution. The module is transformers'.

    Dao and Gu, "Transformers are SSMs", 2024.
    """

    cache_class: ClassVar[Any] = getattr(modeling_nemotron_h, "NemotronHHybridDynamicCache", None)

    def __init__(self, config: Any, layer_idx: int) -> None:
        super().__init__(config, layer_idx)

    def initialize(self) -> None:
        """Sets the parameters that transformers initializes by itself."""
        config: Any = self.config
        low, high = math.log(config.time_step_min), math.log(config.time_step_max)
        steps = torch.empty_like(self.dt_bias).uniform_(low, high).exp()
        steps = steps.clamp(min=config.time_step_floor)
        # The inverse of softplus.
        set_new(self.dt_bias, steps + torch.log(-torch.expm1(-steps)))
        set_new(self.A_log, torch.log(torch.arange(1, self.num_heads + 1)))
        set_new(self.D, torch.ones_like(self.D))
