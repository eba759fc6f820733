"""The feed-forward block of a Granite with experts and a shared expert."""

from typing import Any

import torch
from torch import nn

from .fused_gated_feedforward import FusedGatedFeedforward
from .mixture_of_experts import MixtureOfExperts


class SharedGraniteExperts(MixtureOfExperts):
    """A mixture of experts, and one of size ``shared_intermediate_size`` for every token."""

    def __init__(self, config: Any, router: nn.Module, experts: nn.Module) -> None:
        super().__init__(config, router, experts)
        self.shared_expert = FusedGatedFeedforward(config, config.shared_intermediate_size)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        routed = super().forward(hidden_states)
        shared: torch.Tensor = self.shared_expert(hidden_states)
        return routed + shared


class SharedGraniteExpert(nn.Module):
    """The expert that every token passes, without any other."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.shared_expert = FusedGatedFeedforward(config, config.shared_intermediate_size)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.shared_expert(hidden_states)
        return output
