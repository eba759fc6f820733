"""The feed-forward block of Falcon."""

from typing import Any, ClassVar

from .feedforward import Feedforward
from .unfused_linear import UnfusedLinear


class FalconFeedforward(Feedforward):
    """``down(activation(up(x)))``; the biases are added to rounded products."""

    tp_plan: ClassVar[dict[str, str]] = {}

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        hidden, inner, bias = config.hidden_size, config.intermediate_size, config.mlp_bias
        self.up_proj = UnfusedLinear(hidden, inner, bias=bias)
        self.down_proj = UnfusedLinear(inner, hidden, bias=bias)
