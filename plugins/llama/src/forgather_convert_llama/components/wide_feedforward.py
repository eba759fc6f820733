"""The feed-forward block of layers without experts."""

from typing import Any

from .gated_feedforward import GatedFeedforward


class WideFeedforward(GatedFeedforward):
    """A gated block of the size ``intermediate_size_mlp``."""

    def __init__(self, config: Any) -> None:
        super().__init__(config, config.intermediate_size_mlp)
