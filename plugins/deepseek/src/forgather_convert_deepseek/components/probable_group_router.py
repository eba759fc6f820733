"""The router of DeepSeek-V2."""

from typing import Any

import torch
from torch.nn import functional

from .experts_implementation import HAS_STACKED_EXPERTS
from .group_limited_router import in_other_groups
from .router import Router


class ProbableGroupRouter(Router):
    """Chooses the most probable experts, from the groups with the most probable one.

    Groups matter where the config's ``topk_method`` is ``group_limited_greedy``. Probabilities are
    the weights, multiplied by ``routed_scaling_factor``. Everything is computed in float32.

    DeepSeek-AI, "DeepSeek-V2", 2024, section 2.2.
    """

    # In transformers 4, the matrix has the dtype of the model.
    weight_dtype = torch.float32 if HAS_STACKED_EXPERTS else None

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.has_groups = config.topk_method == "group_limited_greedy"
        self.num_groups = config.n_group
        self.top_groups = config.topk_group
        self.scale = config.routed_scaling_factor

    def forward(
        self, hidden_states: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns the logits, ``[tokens, experts]``, the chosen experts and their weights."""
        logits = functional.linear(hidden_states.float(), self.weight.float())
        scores = logits.softmax(dim=-1, dtype=torch.float32)
        if self.has_groups:
            groups = scores.view(len(scores), self.num_groups, -1)
            best = groups.max(dim=-1).values
            closed = in_other_groups(groups, best, self.top_groups)
            scores = scores.masked_fill(closed, 0.0)
        weights, experts = torch.topk(scores, k=self.top_k, dim=-1, sorted=False)
        return logits, experts, weights * self.scale
