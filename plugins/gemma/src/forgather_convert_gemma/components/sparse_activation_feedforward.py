"""A gated feed-forward block of which only the largest activations are used."""

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers.activations import ACT2FN

from .gated_feedforward import GatedFeedforward


class GaussianTopK(nn.Module):
    """What of each number exceeds a quantile of them all, as if they had a normal distribution.

    Args:
        sparsity: The part of the numbers that become zero.
    """

    def __init__(self, sparsity: float) -> None:
        super().__init__()
        self.sparsity = sparsity

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        part = torch.tensor(self.sparsity, dtype=torch.float32, device=inputs.device)
        # Of the standard normal distribution, rounded as in transformers.
        quantile = (torch.erfinv(2 * part - 1) * math.sqrt(2)).to(inputs.dtype)
        mean = inputs.mean(dim=-1, keepdim=True)
        deviation = inputs.std(dim=-1, keepdim=True, unbiased=False)
        return functional.relu(inputs - (mean + deviation * quantile))


class SparseActivationFeedforward(GatedFeedforward):
    """A gated feed-forward block with a size and a sparsity for each layer.

    They are in the config's ``intermediate_size`` and ``activation_sparsity_pattern``.

    Gemma Team, "Gemma 3n", 2025.
    """

    def __init__(self, config: Any, layer_idx: int) -> None:
        super().__init__(config, config.intermediate_size[layer_idx])
        sparsity = config.activation_sparsity_pattern[layer_idx]
        if sparsity > 0.0:
            activation = ACT2FN[config.hidden_act]
            self.activation: nn.Module = nn.Sequential(GaussianTopK(sparsity), activation)
