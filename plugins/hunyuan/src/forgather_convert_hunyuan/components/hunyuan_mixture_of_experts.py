"""The experts of Hunyuan."""

from typing import Any

import torch
from torch import nn

from .gated_feedforward import GatedFeedforward
from .mixture_of_experts import MixtureOfExperts


class HunyuanMixtureOfExperts(MixtureOfExperts):
    """A mixture of experts, plus an expert of the same size that every token uses."""

    def __init__(self, config: Any, router: nn.Module, experts: nn.Module) -> None:
        super().__init__(config, router, experts)
        self.shared_expert = GatedFeedforward(config)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        # It comes first: gradients are added in that order.
        shared: torch.Tensor = self.shared_expert(hidden_states)
        return super().forward(hidden_states) + shared
