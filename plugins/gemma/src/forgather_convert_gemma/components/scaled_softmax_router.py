"""A router that normalizes and scales its input, and scales each expert."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from .power_rms_norm import normalized


class ScaledSoftmaxRouter(nn.Module):
    """Chooses the most probable experts of each token.

    Their probabilities, normalized to a sum of one, times a learned factor of each expert are their
    weights.

    Gemma Team, "Gemma 4", 2026.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.top_k, self.eps = config.num_experts_per_tok, config.rms_norm_eps
        self.linear = nn.Linear(config.hidden_size, config.num_experts, bias=False)
        self.scale = nn.Parameter(torch.ones(config.hidden_size))
        self.expert_scale = nn.Parameter(torch.ones(config.num_experts))
        self.inverse_root = config.hidden_size**-0.5

    def initialize(self) -> None:
        """Sets the scales to one, like transformers."""
        nn.init.ones_(self.scale)
        nn.init.ones_(self.expert_scale)

    def forward(
        self, hidden_states: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns the probabilities, ``[tokens, experts]``, the chosen experts, their weights."""
        scaled = normalized(hidden_states, self.eps).to(hidden_states.dtype)
        logits = self.linear(scaled * self.scale * self.inverse_root)
        probabilities = functional.softmax(logits, dim=-1, dtype=torch.float32)
        weights, chosen = torch.topk(probabilities, self.top_k, dim=-1)
        weights = weights / weights.sum(dim=-1, keepdim=True)
        return probabilities, chosen, weights * self.expert_scale[chosen]
