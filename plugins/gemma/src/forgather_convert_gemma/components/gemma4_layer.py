"""The layer of Gemma 4: sandwich norms, and optionally experts and an input of its own."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .gated_experts import GatedExperts
from .per_layer_input import PerLayerInput
from .sandwich_norm_layer import SandwichNormLayer
from .scaled_softmax_router import ScaledSoftmaxRouter


class SparseBlock(nn.Module):
    """Experts beside the feed-forward block, which get the unnormalized hidden states.

    Args:
        config: The config.
        make_norm: Makes a norm of the hidden size.
    """

    def __init__(self, config: Any, make_norm: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.router = ScaledSoftmaxRouter(config)
        self.experts = GatedExperts(config)
        self.dense_norm = make_norm()
        self.norm1 = make_norm()
        self.norm2 = make_norm()

    def forward(self, hidden_states: torch.Tensor, dense: torch.Tensor) -> torch.Tensor:
        """Adds the output of the experts to that of the feed-forward block."""
        dense = self.dense_norm(dense)
        tokens = hidden_states.reshape(-1, hidden_states.shape[-1])
        _, chosen, weights = self.router(tokens)
        sparse = self.experts(self.norm1(tokens), chosen, weights).reshape(hidden_states.shape)
        combined: torch.Tensor = dense + self.norm2(sparse)
        return combined


class Gemma4Layer(SandwichNormLayer):
    """A layer with sandwich norms whose output is multiplied by a number.

    With ``enable_moe_block``, experts are added to the feed-forward block; with
    ``hidden_size_per_layer_input``, each token has an input for this layer alone.

    Gemma Team, "Gemma 4", 2026.
    """

    def __init__(
        self,
        config: Any,
        attention: nn.Module,
        feedforward: nn.Module,
        norm1: nn.Module,
        norm2: nn.Module,
        norm3: nn.Module,
        norm4: nn.Module,
        make_norm: Callable[[], nn.Module],
    ) -> None:
        super().__init__(attention, feedforward, norm1, norm2, norm3, norm4)
        self.sparse = SparseBlock(config, make_norm) if config.enable_moe_block else None
        has_own_input = bool(config.hidden_size_per_layer_input)
        self.own_input = PerLayerInput(config, make_norm) if has_own_input else None
        self.register_buffer("scale", torch.ones(1))

    def initialize(self) -> None:
        """Sets the number to one, like transformers."""
        self.scale.fill_(1.0)

    def forward(
        self, hidden_states: torch.Tensor, own: torch.Tensor | None = None, **kwargs: Any
    ) -> torch.Tensor:
        attended = self.attention(self.norm1(hidden_states), **kwargs)
        hidden_states = hidden_states + self.norm2(attended)
        transformed = self.feedforward(self.norm3(hidden_states))
        if self.sparse is not None:
            transformed = self.sparse(hidden_states, transformed)
        hidden_states = hidden_states + self.norm4(transformed)
        if self.own_input is not None:
            hidden_states = hidden_states + self.own_input(hidden_states, own)
        return hidden_states * self.scale
