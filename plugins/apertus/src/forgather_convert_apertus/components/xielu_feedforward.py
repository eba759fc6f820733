"""The feed-forward block of Apertus."""

from typing import Any

from transformers.activations import ACT2CLS

from .feedforward import Feedforward


class XieluFeedforward(Feedforward):
    """A block without a gate. Its activation may be xIELU, which has parameters of its own.

    They are transformers' own module. Huang, "Deriving Activation Functions Using Integration",
    2024.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        if config.hidden_act == "xielu":
            self.activation = ACT2CLS["xielu"](dtype=config.dtype)
