"""The feed-forward block of BLOOM."""

from typing import Any

from transformers.models.bloom.modeling_bloom import BloomGelu

from .feedforward import Feedforward


class BloomFeedforward(Feedforward):
    """A block without a gate. Its activation is transformers', which has gradients of its own."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.activation = BloomGelu()
