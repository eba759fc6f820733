"""Attention whose scores have a factor that the config gives."""

from typing import Any

from .causal_attention import CausalAttention


class ScaledAttention(CausalAttention):
    """Causal attention with the config's ``attention_multiplier`` for the scores."""

    def __init__(self, config: Any, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        self.scaling = config.attention_multiplier
