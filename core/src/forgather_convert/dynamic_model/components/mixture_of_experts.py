"""A mixture of experts: feed-forward blocks of which each token uses a few."""

from typing import Any, ClassVar

import torch
from torch import nn

from .experts_implementation import HAS_STACKED_EXPERTS
from .gated_feedforward import GatedFeedforward


class MixtureOfExperts(nn.Module):
    """Experts that a router chooses for each token.

    A config may have a noise factor for training, ``router_jitter_noise``.

    Attributes:
        has_two_views: Whether the gradients of router and experts are added to that of the input
            one after the other, and not to each other first.
    """

    has_two_views: ClassVar[bool] = False

    def __init__(self, config: Any, router: nn.Module, experts: nn.Module) -> None:
        super().__init__()
        self.router = router
        self.experts = experts
        self.jitter_noise = getattr(config, "router_jitter_noise", None) or 0.0

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        shape = hidden_states.shape
        if self.training and self.jitter_noise > 0:
            low, high = 1.0 - self.jitter_noise, 1.0 + self.jitter_noise
            hidden_states = hidden_states * torch.empty_like(hidden_states).uniform_(low, high)
        tokens = seen = hidden_states.reshape(-1, shape[-1])
        if self.has_two_views:
            tokens = hidden_states.reshape(-1, shape[-1])
        _, chosen, weights = self.router(seen)
        output: torch.Tensor = self.experts(tokens, chosen, weights)
        return output.reshape(shape)


class SharedMixtureOfExperts(MixtureOfExperts):
    """A mixture of experts, plus ``n_shared_experts`` that every token uses.

    Dai et al., "DeepSeekMoE", 2024.
    """

    has_two_views = True

    def __init__(self, config: Any, router: nn.Module, experts: nn.Module) -> None:
        super().__init__(config, router, experts)
        inner = config.moe_intermediate_size * config.n_shared_experts
        self.shared_experts = GatedFeedforward(config, inner)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        # The order also determines that of the gradients.
        routed = super().forward(hidden_states)
        shared: torch.Tensor = self.shared_experts(hidden_states)
        return routed + shared


class GatedSharedMixtureOfExperts(MixtureOfExperts):
    """A mixture of experts, and a shared expert with a gate of its own (Qwen2-MoE).

    The shared expert has the size ``shared_expert_intermediate_size``.

    Qwen Team, "Qwen1.5-MoE", 2024.
    """

    def __init__(self, config: Any, router: nn.Module, experts: nn.Module) -> None:
        super().__init__(config, router, experts)
        self.shared_expert = GatedFeedforward(config, config.shared_expert_intermediate_size)
        self.shared_expert_gate = nn.Linear(config.hidden_size, 1, bias=False)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        tokens = hidden_states.reshape(-1, hidden_states.shape[-1])
        # transformers 5 begins with the shared expert, and version 4 with the router. Gradients
        # are added in that order.
        shared = self.shared_expert(tokens) if HAS_STACKED_EXPERTS else None
        _, chosen, weights = self.router(tokens)
        routed: torch.Tensor = self.experts(tokens, chosen, weights)
        if shared is None:
            shared = self.shared_expert(tokens)
        shared = torch.sigmoid(self.shared_expert_gate(tokens)) * shared
        result: torch.Tensor = (routed + shared).reshape(hidden_states.shape)
        return result
