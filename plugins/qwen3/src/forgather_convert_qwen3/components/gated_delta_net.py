"""Linear attention by gated delta nets."""

from typing import Any, ClassVar

import torch
from transformers.models.qwen3_next import modeling_qwen3_next
from transformers.models.qwen3_next.modeling_qwen3_next import Qwen3NextGatedDeltaNet

from .transformers_mixer import TransformersMixer, set_new


def initialize_state(decay: torch.Tensor, bias: torch.Tensor) -> None:
    """Draws the logarithms of the decays, and sets the biases to one."""
    set_new(decay, torch.empty_like(decay).uniform_(0.01, 16).log())
    set_new(bias, torch.ones_like(bias))


class GatedDeltaNet(TransformersMixer, Qwen3NextGatedDeltaNet):
    """A state that each token corrects, behind a short convolution. The module is transformers'.

    Yang, Kautz and Hatamizadeh, "Gated Delta Networks", 2024.
    """

    cache_class: ClassVar[Any] = getattr(modeling_qwen3_next, "Qwen3NextDynamicCache", None)

    def __init__(self, config: Any, layer_idx: int) -> None:
        super().__init__(config, layer_idx)

    def initialize(self) -> None:
        """Sets the parameters that transformers initializes by itself."""
        initialize_state(self.A_log, self.dt_bias)
