"""The router of DeepSeek-V2."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from .experts_implementation import HAS_STACKED_EXPERTS


class ProbableGroupRouter(nn.Module):
    """Chooses the most probable experts, from the groups with the most probable one.

    Groups matter where the config's ``topk_method`` is ``group_limited_greedy``. Probabilities are
    the weights, multiplied by ``routed_scaling_factor``. Everything is computed in float32.

    DeepSeek-AI, "DeepSeek-V2", 2024, section 2.2.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.top_k = config.num_experts_per_tok
        self.has_groups = config.topk_method == "group_limited_greedy"
        self.num_groups = config.n_group
        self.top_groups = config.topk_group
        self.scale = config.routed_scaling_factor
        # In transformers 4, it has the dtype of the model.
        dtype = torch.float32 if HAS_STACKED_EXPERTS else None
        self.weight = nn.Parameter(torch.empty(config.num_experts, config.hidden_size, dtype=dtype))
        nn.init.normal_(self.weight, std=config.initializer_range)

    def forward(
        self, hidden_states: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns the logits, ``[tokens, experts]``, the chosen experts and their weights."""
        logits = functional.linear(hidden_states.float(), self.weight.float())
        scores = logits.softmax(dim=-1, dtype=torch.float32)
        if self.has_groups:
            groups = scores.view(len(scores), self.num_groups, -1)
            best = groups.max(dim=-1).values
            chosen = torch.topk(best, k=self.top_groups, dim=-1, sorted=False)[1]
            is_open = torch.zeros_like(best).scatter_(1, chosen, 1).bool()
            closed = ~is_open.unsqueeze(-1).expand_as(groups).reshape_as(scores)
            scores = scores.masked_fill(closed, 0.0)
        weights, experts = torch.topk(scores, k=self.top_k, dim=-1, sorted=False)
        return logits, experts, weights * self.scale
