"""A router that gives each expert a score of its own."""

from typing import Any

import torch
from torch import nn


class ScoreRouter(nn.Linear):
    """The sigmoid of the ``num_experts_per_tok`` highest logits of each token; zero for others."""

    def __init__(self, config: Any) -> None:
        super().__init__(config.hidden_size, config.num_local_experts, bias=False)
        self.top_k = config.num_experts_per_tok

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Returns ``[tokens, experts]`` for ``[tokens, hidden]``."""
        logits = super().forward(hidden_states)
        highest, experts = torch.topk(logits, self.top_k, dim=1)
        scores = torch.full_like(logits, float("-inf")).scatter_(1, experts, highest)
        return torch.sigmoid(scores.float()).to(scores.dtype)
