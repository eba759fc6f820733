"""The experts of a layer, each a gated feed-forward block."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers.activations import ACT2FN

from .experts_implementation import HAS_STACKED_EXPERTS, use_experts_implementation


@use_experts_implementation()
class GatedExperts(nn.Module):
    """``down(activation(gate(x)) * up(x))`` of the experts chosen for each token.

    All experts are in two parameters: ``gate_up_proj``, ``[experts, 2 * inner, hidden]``, and
    ``down_proj``, ``[experts, hidden, inner]``. The products are those of the installed
    transformers: one for gate and up in version 5, two in version 4. The inner size is
    the config's ``moe_intermediate_size``, or else its ``intermediate_size``.
    """

    #: In transformers 4, whether an expert gets its tokens in sequence order instead of by rank.
    in_token_order = False

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.num_experts = config.num_experts
        inner = getattr(config, "moe_intermediate_size", None) or config.intermediate_size
        self.gate_up_proj = nn.Parameter(
            torch.empty(self.num_experts, 2 * inner, config.hidden_size)
        )
        self.down_proj = nn.Parameter(torch.empty(self.num_experts, config.hidden_size, inner))
        self.act_fn = ACT2FN[config.hidden_act]
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=config.initializer_range)

    def forward(
        self, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor
    ) -> torch.Tensor:
        """Returns the weighted sum of the experts' outputs.

        Args:
            hidden_states: ``[tokens, hidden]``.
            top_k_index: The experts of each token, ``[tokens, experts per token]``.
            top_k_weights: Their weights, of the same shape.
        """
        dtype = hidden_states.dtype if HAS_STACKED_EXPERTS else top_k_weights.dtype
        output = torch.zeros_like(hidden_states, dtype=dtype)
        for expert in torch.unique(top_k_index):
            token, rank = self.tokens_of(expert, top_k_index)
            inner = self.inner(hidden_states[token], self.gate_up_proj[expert])
            result = functional.linear(inner, self.down_proj[expert])
            weighted = result * top_k_weights[token, rank, None]
            output.index_add_(0, token, weighted.to(dtype))
        return output.to(hidden_states.dtype)

    def tokens_of(
        self, expert: torch.Tensor, top_k_index: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The tokens that an expert is chosen for, and the rank of the choice."""
        is_chosen = top_k_index == expert
        if self.in_token_order and not HAS_STACKED_EXPERTS:
            token, rank = torch.where(is_chosen)
        else:
            rank, token = torch.where(is_chosen.T)
        return token, rank

    def inner(self, hidden_states: torch.Tensor, gate_up: torch.Tensor) -> torch.Tensor:
        """``activation(gate(x)) * up(x)``, ``[tokens, inner]``."""
        if HAS_STACKED_EXPERTS:
            gate, up = functional.linear(hidden_states, gate_up).chunk(2, dim=-1)
        else:
            gate, up = (functional.linear(hidden_states, half) for half in gate_up.chunk(2))
        gated: torch.Tensor = self.act_fn(gate) * up
        return gated


class TokenOrderedExperts(GatedExperts):
    """Gated experts, added up in the order of tokens in transformers 4 (DeepSeek-V3)."""

    in_token_order = True
