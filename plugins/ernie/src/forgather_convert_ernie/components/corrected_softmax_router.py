"""A router with probabilities and a correction."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from .router import Router


class CorrectedSoftmaxRouter(Router):
    """Chooses experts by their probabilities, which give the weights, normalized to a sum of one.

    A correction for load balancing affects the choice, but not the weights; training changes it by
    other means. The sum is at least the config's ``moe_norm_min``. Everything is computed in
    float32.

    Wang et al., "Auxiliary-Loss-Free Load Balancing Strategy for Mixture-of-Experts", 2024.
    """

    gives_logits = True
    weight_dtype = torch.float32

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.smallest_sum = config.moe_norm_min
        correction = torch.zeros(1, config.num_experts, dtype=torch.float32)
        self.e_score_correction_bias = nn.Parameter(correction, requires_grad=False)

    def forward(
        self, hidden_states: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns the logits, ``[tokens, experts]``, the chosen experts and their weights."""
        with torch.autocast(hidden_states.device.type, enabled=False):
            logits = functional.linear(hidden_states.float(), self.weight.float())
            probabilities = functional.softmax(logits, dim=-1, dtype=torch.float32)
            corrected = probabilities + self.e_score_correction_bias.squeeze()
            experts = torch.topk(corrected, self.top_k, dim=-1)[1]
            weights = probabilities.gather(-1, experts)
            weights = weights / weights.sum(dim=-1, keepdim=True).clamp(min=self.smallest_sum)
        return logits, experts, weights.to(hidden_states.dtype)
