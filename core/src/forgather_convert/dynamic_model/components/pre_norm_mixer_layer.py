"""A layer with a mixer other than attention."""

from typing import Any

from torch import nn

from .pre_norm_layer import PreNormLayer


class PreNormMixerLayer(PreNormLayer):
    """``x + mixer(norm1(x))``, then ``x + feedforward(norm2(x))``."""

    def __init__(
        self,
        config: Any,
        mixer: nn.Module,
        feedforward: nn.Module,
        norm1: nn.Module,
        norm2: nn.Module,
    ) -> None:
        super().__init__(config, None, feedforward, norm1, norm2)
        self.mixer = mixer

    def mix(self, hidden_states: Any, **kwargs: Any) -> Any:
        return self.mixer(hidden_states, **kwargs)
