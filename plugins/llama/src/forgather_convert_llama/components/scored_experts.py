"""Experts that compute every token, multiplied by its score."""

from typing import Any

import torch
from torch import nn
from transformers.activations import ACT2FN

from .gated_feedforward import GatedFeedforward


class ScoredExperts(nn.Module):
    """All experts of a layer, each ``(activation(x @ gate) * (x @ up)) @ down``."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        count, hidden, inner = (
            config.num_local_experts,
            config.hidden_size,
            config.intermediate_size,
        )
        self.deviation = config.initializer_range
        self.gate_up_proj = nn.Parameter(torch.empty(count, hidden, 2 * inner))
        self.down_proj = nn.Parameter(torch.empty(count, inner, hidden))
        self.activation = ACT2FN[config.hidden_act]

    def initialize(self) -> None:
        """Draws the matrices from a normal distribution."""
        nn.init.normal_(self.gate_up_proj, std=self.deviation)
        nn.init.normal_(self.down_proj, std=self.deviation)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Returns the input's shape, ``[experts, tokens, hidden]``."""
        gate, up = torch.bmm(hidden_states, self.gate_up_proj).chunk(2, dim=-1)
        return torch.bmm(up * self.activation(gate), self.down_proj)


class ScoredMixtureOfExperts(nn.Module):
    """A mixture of experts, and a shared expert.

    Other mixtures multiply what experts return; this one multiplies what they get.
    """

    def __init__(self, config: Any, router: nn.Module, experts: nn.Module) -> None:
        super().__init__()
        self.experts = experts
        self.router = router
        self.shared_expert = GatedFeedforward(config)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        tokens = hidden_states.reshape(-1, hidden_states.shape[-1])
        scores: torch.Tensor = self.router(tokens)
        count = scores.shape[1]
        routed = tokens.repeat(count, 1) * scores.transpose(0, 1).reshape(-1, 1)
        routed = self.experts(routed.view(count, -1, tokens.shape[-1]))
        output: torch.Tensor = self.shared_expert(tokens)
        return (output + routed.sum(dim=0)).view(hidden_states.shape)
