"""The router of Phi-3.5-MoE."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers.models.phimoe.modeling_phimoe import sparsemixer


class SparseMixerRouter(nn.Module):
    """Chooses two experts by transformers' own function, in training at random.

    The weight of each is its probability among the experts whose logits are close enough to the
    largest one: ``router_jitter_noise`` says how close. The second expert is chosen among the
    others in the same way.

    Liu et al., "GRIN: GRadient-INformed MoE", 2024.
    """

    gives_logits = True

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.jitter_noise = config.router_jitter_noise
        self.weight = nn.Parameter(torch.empty(config.num_experts, config.hidden_size))
        nn.init.normal_(self.weight, std=config.initializer_range)

    def forward(
        self, hidden_states: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns the logits, ``[tokens, experts]``, the chosen experts and their weights."""
        logits = functional.linear(hidden_states, self.weight)
        weights, experts = sparsemixer(logits, self.jitter_noise, self.training)
        return logits, experts, weights
