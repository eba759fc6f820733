"""The router of Granite's experts."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional


class FloatSoftmaxRouter(nn.Module):
    """Chooses the experts with the largest logits; the softmax of these gives their weights.

    Both are computed in float32, from logits in the dtype of the model.
    """

    gives_logits = True

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.top_k = config.num_experts_per_tok
        self.weight = nn.Parameter(torch.empty(config.num_experts, config.hidden_size))
        nn.init.normal_(self.weight, std=config.initializer_range)

    def forward(
        self, hidden_states: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns the logits, ``[tokens, experts]``, the chosen experts and their weights."""
        logits = functional.linear(hidden_states, self.weight).float()
        chosen, experts = logits.topk(self.top_k, dim=-1)
        weights = torch.softmax(chosen, dim=-1).type_as(hidden_states)
        return logits, experts, weights
