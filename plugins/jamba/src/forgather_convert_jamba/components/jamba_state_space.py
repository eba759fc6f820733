"""The selective state spaces of Jamba."""

from typing import Any

import torch
from transformers.models.jamba.modeling_jamba import JambaMambaMixer

from .transformers_mixer import TransformersMixer, set_new


class JambaStateSpace(TransformersMixer, JambaMambaMixer):
    """Mamba behind a short convolution, with norms of its parameters. The module is transformers'.

    Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", 2023.
    """

    def __init__(self, config: Any, layer_idx: int) -> None:
        super().__init__(config, layer_idx)

    def initialize(self) -> None:
        """Sets the parameters that transformers initializes by itself."""
        rates = torch.arange(1, self.ssm_state_size + 1).expand(self.intermediate_size, -1)
        set_new(self.A_log, torch.log(rates))
        set_new(self.D, torch.ones_like(self.D))
