"""A router that first chooses groups of experts."""

from typing import Any

import torch
from torch.nn import functional

from .experts_implementation import CLOSED_SCORE, HAS_STACKED_EXPERTS
from .router import Router


def in_other_groups(groups: torch.Tensor, best: torch.Tensor, count: int) -> torch.Tensor:
    """Which experts are not in one of the best groups, ``[tokens, experts]``.

    Args:
        groups: Scores, ``[tokens, groups, experts of a group]``.
        best: What groups are chosen by, ``[tokens, groups]``.
        count: How many groups are chosen.
    """
    chosen = torch.topk(best, k=count, dim=-1, sorted=False)[1]
    is_open = torch.zeros_like(best).scatter_(1, chosen, 1).bool()
    return ~is_open.unsqueeze(-1).expand_as(groups).reshape(len(groups), -1)


class GroupLimitedRouter(Router):
    """Chooses experts by their sigmoid scores, from the groups with the best pairs of experts.

    The config has ``n_group``, ``topk_group`` and ``routed_scaling_factor``. A correction for load
    balancing affects the choice, but not the weights. It is not a parameter;
    training changes it by other means. Everything is computed in float32.

    DeepSeek-AI, "DeepSeek-V3 Technical Report", 2024, section 2.1.2.
    """

    # In transformers 4, matrix and correction have the dtype of the model.
    weight_dtype = torch.float32 if HAS_STACKED_EXPERTS else None

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.num_groups = config.n_group
        self.top_groups = config.topk_group
        self.norm_topk_prob = config.norm_topk_prob
        self.scale = config.routed_scaling_factor
        self.e_score_correction_bias: torch.Tensor
        bias = torch.zeros(config.num_experts, dtype=self.weight_dtype)
        self.register_buffer("e_score_correction_bias", bias)

    def forward(
        self, hidden_states: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns the logits, ``[tokens, experts]``, the chosen experts and their weights."""
        logits = functional.linear(hidden_states.float(), self.weight.float())
        scores = logits.sigmoid()
        experts = self.choose(scores.detach() + self.e_score_correction_bias)
        weights = scores.gather(1, experts)
        if self.norm_topk_prob:
            weights = weights / (weights.sum(dim=-1, keepdim=True) + 1e-20)
        return logits, experts, weights * self.scale

    def choose(self, scores: torch.Tensor) -> torch.Tensor:
        """The experts with the best scores in the best groups."""
        groups = scores.view(len(scores), self.num_groups, -1)
        best_two = groups.topk(2, dim=-1)[0].sum(dim=-1)
        closed = in_other_groups(groups, best_two, self.top_groups)
        scores = scores.masked_fill(closed, CLOSED_SCORE)
        return torch.topk(scores, k=self.top_k, dim=-1, sorted=False)[1]
