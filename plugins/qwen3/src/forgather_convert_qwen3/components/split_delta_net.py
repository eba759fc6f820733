"""Linear attention by gated delta nets, with a projection for each of their inputs."""

from typing import Any, ClassVar

from transformers.models.qwen3_5 import modeling_qwen3_5
from transformers.models.qwen3_5.modeling_qwen3_5 import Qwen3_5GatedDeltaNet

from .gated_delta_net import initialize_state
from .transformers_mixer import TransformersMixer


class SplitDeltaNet(TransformersMixer, Qwen3_5GatedDeltaNet):
    """``GatedDeltaNet`` with other projections. The module is transformers'."""

    cache_class: ClassVar[Any] = getattr(modeling_qwen3_5, "Qwen3_5DynamicCache", None)

    def __init__(self, config: Any, layer_idx: int) -> None:
        super().__init__(config, layer_idx)

    def initialize(self) -> None:
        """Sets the parameters that transformers initializes by itself."""
        initialize_state(self.A_log, self.dt_bias)
