"""A router with sigmoid scores and a correction."""

from typing import Any

import torch
from torch.nn import functional

from .router import Router


class CorrectedSigmoidRouter(Router):
    """Chooses experts by their sigmoid scores, which give the weights, normalized to a sum of one.

    A correction for load balancing affects the choice, but not the weights. It is not a parameter;
    training changes it by other means.

    Wang et al., "Auxiliary-Loss-Free Load Balancing Strategy for Mixture-of-Experts", 2024.
    """

    gives_logits = True

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.e_score_correction_bias: torch.Tensor
        self.register_buffer("e_score_correction_bias", torch.zeros(config.num_experts))

    def forward(
        self, hidden_states: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns the logits, ``[tokens, experts]``, the chosen experts and their weights."""
        logits = functional.linear(hidden_states.to(self.weight.dtype), self.weight)
        scores = logits.float().sigmoid()
        corrected = scores + self.e_score_correction_bias
        experts = torch.topk(corrected, self.top_k, dim=-1, sorted=False)[1]
        weights = scores.gather(1, experts)
        return logits, experts, weights / weights.sum(dim=-1, keepdim=True)
