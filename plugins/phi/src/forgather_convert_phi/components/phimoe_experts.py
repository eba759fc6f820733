"""The experts of Phi-3.5-MoE."""

from typing import Any

import torch
from torch import nn

from .mixture_of_experts import MixtureOfExperts


class PhimoeExperts(MixtureOfExperts):
    """A mixture of experts with ``input_jitter_noise`` for training, which is applied twice."""

    def __init__(self, config: Any, router: nn.Module, experts: nn.Module) -> None:
        super().__init__(config, router, experts)
        self.jitter_noise = config.input_jitter_noise

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        if self.training and self.jitter_noise > 0:
            low, high = 1.0 - self.jitter_noise, 1.0 + self.jitter_noise
            hidden_states = hidden_states * torch.empty_like(hidden_states).uniform_(low, high)
        return super().forward(hidden_states)
