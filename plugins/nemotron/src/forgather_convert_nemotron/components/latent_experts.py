"""Experts without gates, which may compute in a smaller space."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers.activations import ACT2FN

from .experts_implementation import use_experts_implementation
from .feedforward import Feedforward
from .mixture_of_experts import MixtureOfExperts


@use_experts_implementation(has_gate=False)
class UngatedExperts(nn.Module):
    """``down(activation(up(x)))`` of the experts chosen for each token.

    All experts are in two parameters: ``up_proj``, ``[experts, inner, size]``, and ``down_proj``,
    ``[experts, size, inner]``. The size is ``moe_latent_size``, or else that of hidden states.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        count, inner = config.num_experts, config.moe_intermediate_size
        size = config.moe_latent_size or config.hidden_size
        self.num_experts = count
        self.up_proj = nn.Parameter(torch.empty(count, inner, size))
        self.down_proj = nn.Parameter(torch.empty(count, size, inner))
        self.act_fn = ACT2FN[config.hidden_act]
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=config.initializer_range)

    def forward(
        self, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor
    ) -> torch.Tensor:
        """Returns the weighted sum of the experts' outputs, added up in the weights' dtype."""
        output = torch.zeros_like(hidden_states, dtype=top_k_weights.dtype)
        for expert in torch.unique(top_k_index):
            rank, token = torch.where((top_k_index == expert).T)
            inner = self.act_fn(functional.linear(hidden_states[token], self.up_proj[expert]))
            result = functional.linear(inner, self.down_proj[expert])
            weighted = result * top_k_weights[token, rank, None]
            output.index_add_(0, token, weighted.to(output.dtype))
        return output.to(hidden_states.dtype)


class LatentMixtureOfExperts(MixtureOfExperts):
    """A mixture of experts, between two projections if they compute in a smaller space.

    Every token also uses an expert of size ``moe_shared_expert_intermediate_size``.
    """

    def __init__(self, config: Any, router: nn.Module, experts: nn.Module) -> None:
        super().__init__(config, router, experts)
        self.shared_experts = Feedforward(config, config.moe_shared_expert_intermediate_size)
        hidden, latent, bias = config.hidden_size, config.moe_latent_size, config.mlp_bias
        self.latent_in = nn.Linear(hidden, latent, bias=bias) if latent else None
        self.latent_out = nn.Linear(latent, hidden, bias=bias) if latent else None

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        size = hidden_states.shape[-1]
        _, chosen, weights = self.router(hidden_states.reshape(-1, size))
        tokens = hidden_states.reshape(-1, size)
        if self.latent_in is not None:
            tokens = self.latent_in(tokens)
        routed: torch.Tensor = self.experts(tokens, chosen, weights)
        if self.latent_out is not None:
            routed = self.latent_out(routed)
        shared: torch.Tensor = self.shared_experts(hidden_states)
        return routed.view(hidden_states.shape) + shared
