"""The layer of Phi."""

import torch

from .parallel_layer import ParallelLayer


class PhiLayer(ParallelLayer):
    """Adds what the two blocks give to each other first."""

    def add(
        self, hidden_states: torch.Tensor, attended: torch.Tensor, transformed: torch.Tensor
    ) -> torch.Tensor:
        return attended + transformed + hidden_states
