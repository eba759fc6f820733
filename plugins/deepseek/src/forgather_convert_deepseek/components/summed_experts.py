"""The experts of a layer, in DeepSeek-V2's order under transformers 4."""

import torch
from torch.nn import functional

from .experts_implementation import HAS_STACKED_EXPERTS
from .gated_experts import GatedExperts


class SummedExperts(GatedExperts):
    """Gated experts whose outputs for a token are summed by rank in transformers 4.

    The tokens are sorted by expert first. transformers 5 adds the outputs expert by expert.
    """

    def forward(
        self, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor
    ) -> torch.Tensor:
        if HAS_STACKED_EXPERTS:
            return super().forward(hidden_states, top_k_index, top_k_weights)
        experts = top_k_index.view(-1)
        order = experts.argsort()
        rows = hidden_states[order // top_k_index.shape[1]]
        sizes = torch.bincount(experts, minlength=self.num_experts).tolist()
        outputs = torch.cat(
            [
                functional.linear(self.inner(group, gate_up), down)
                for group, gate_up, down in zip(
                    torch.split(rows, sizes), self.gate_up_proj, self.down_proj, strict=True
                )
                if len(group)
            ]
        )
        by_rank = torch.empty_like(outputs)
        by_rank[order] = outputs
        by_rank = by_rank.view(*top_k_index.shape, -1).type(top_k_weights.dtype)
        weighted = by_rank * top_k_weights.unsqueeze(dim=-1)
        return weighted.sum(dim=1).type(outputs.dtype)
