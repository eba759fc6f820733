"""The layer of Phi."""

import torch

from .parallel_layer import ParallelLayer


class PhiLayer(ParallelLayer):
    """Adds the outputs of the two blocks to each other first."""

    def add(
        self, hidden_states: torch.Tensor, attended: torch.Tensor, transformed: torch.Tensor
    ) -> torch.Tensor:
        return attended + transformed + hidden_states
