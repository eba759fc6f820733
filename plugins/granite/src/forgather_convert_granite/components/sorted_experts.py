"""The experts of a layer, in Granite's order under transformers 4."""

import torch
from torch.nn import functional

from .experts_implementation import HAS_STACKED_EXPERTS
from .gated_experts import GatedExperts


class SortedExperts(GatedExperts):
    """Gated experts that transformers 4 runs one after the other, and adds up all at once.

    Tokens are sorted by their experts first. Gate and up are one product.
    """

    def forward(
        self, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor
    ) -> torch.Tensor:
        if HAS_STACKED_EXPERTS:
            return super().forward(hidden_states, top_k_index, top_k_weights)
        experts = top_k_index.flatten()
        order = experts.sort(0).indices
        tokens = order.div(top_k_index.shape[-1], rounding_mode="trunc")
        sizes = torch.bincount(experts, minlength=self.num_experts).tolist()
        gate, up = each_product(hidden_states[tokens], self.gate_up_proj, sizes).chunk(2, dim=-1)
        output = each_product(self.act_fn(gate) * up, self.down_proj, sizes)
        output = output * top_k_weights.flatten()[order, None]
        return torch.zeros_like(hidden_states).index_add(0, tokens, output)


def each_product(rows: torch.Tensor, matrices: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    """The products of groups of rows, each group with its matrix."""
    groups = zip(rows.split(sizes), matrices, strict=True)
    return torch.cat([functional.linear(group, matrix) for group, matrix in groups])
