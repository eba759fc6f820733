"""A router with a softmax over the chosen experts only."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from .experts_implementation import HAS_STACKED_EXPERTS
from .router import Router


class ChosenSoftmaxRouter(Router):
    """Chooses the experts with the largest logits; the softmax of these gives their weights."""

    gives_logits = True

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.bias = nn.Parameter(torch.empty(config.num_experts))
        nn.init.normal_(self.bias, std=config.initializer_range)

    def forward(
        self, hidden_states: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns the logits, ``[tokens, experts]``, the chosen experts and their weights.

        As in transformers 4, the weights of all experts may take the place of the logits.
        """
        logits = functional.linear(hidden_states, self.weight, self.bias)
        chosen, experts = torch.topk(logits, self.top_k, dim=-1)
        weights = functional.softmax(chosen, dim=1, dtype=chosen.dtype)
        if not HAS_STACKED_EXPERTS:
            logits = torch.zeros_like(logits).scatter(1, experts, weights)
        return logits, experts, weights
