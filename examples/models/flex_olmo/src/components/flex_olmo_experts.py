"""A mixture of experts whose router and experts share one view of the hidden states."""

import torch

from .mixture_of_experts import MixtureOfExperts


class FlexOlmoExperts(MixtureOfExperts):
    """Adds the gradients of router and experts first, and then that of the residual connection."""

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        tokens = hidden_states.reshape(-1, hidden_states.shape[-1])
        return super().forward(tokens).reshape(hidden_states.shape)
