"""The experts of a layer, in Granite's order in older versions of transformers."""

import torch
from torch.nn import functional
from transformers.models.granitemoe import modeling_granitemoe

from .gated_experts import GatedExperts

#: Whether the installed transformers sorts the tokens; later versions compute as for other models.
SORTS_TOKENS = hasattr(modeling_granitemoe, "GraniteMoeParallelExperts")


class SortedExperts(GatedExperts):
    """Gated experts whose outputs are added all at once in older versions of transformers.

    Tokens are sorted by expert first. Gate and up are one product.
    """

    def forward(
        self, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor
    ) -> torch.Tensor:
        if not SORTS_TOKENS:
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
    groups = zip(torch.split(rows, sizes), matrices, strict=True)
    return torch.cat([functional.linear(group, matrix) for group, matrix in groups])
