"""The feed-forward block of GPT-2."""

from typing import Any, ClassVar

from .feedforward import Feedforward
from .projection import Projection


class GPT2Feedforward(Feedforward):
    """``down(activation(up(x)))`` with ``[in, out]`` matrices."""

    tp_plan: ClassVar[dict[str, str]] = {}

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        hidden, inner = config.hidden_size, config.intermediate_size
        self.up_proj = Projection(config, hidden, inner)
        self.down_proj = Projection(config, inner, hidden, leads_back=True)
