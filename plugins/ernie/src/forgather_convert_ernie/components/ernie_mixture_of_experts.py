"""The experts of ERNIE 4.5."""

from typing import Any

import torch
from torch import nn

from .gated_feedforward import GatedFeedforward
from .mixture_of_experts import MixtureOfExperts


class ErnieMixtureOfExperts(MixtureOfExperts):
    """A mixture of experts, plus ``n_shared_experts`` that every token uses, if there are any."""

    def __init__(self, config: Any, router: nn.Module, experts: nn.Module) -> None:
        super().__init__(config, router, experts)
        inner = config.moe_intermediate_size * config.n_shared_experts
        self.shared_experts = GatedFeedforward(config, inner) if inner else None

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        tokens = hidden_states.reshape(-1, hidden_states.shape[-1])
        # They come first: gradients are added in that order.
        shared = None if self.shared_experts is None else self.shared_experts(tokens)
        _, chosen, weights = self.router(tokens)
        output: torch.Tensor = self.experts(tokens, chosen, weights)
        if shared is not None:
            output = output + shared
        return output.reshape(hidden_states.shape)
