"""A layer with a mixer and nothing else."""

from typing import Any

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer


class MambaBlock(GradientCheckpointingLayer):
    """``x + mixer(norm(x))``, where the sum is in float32 if ``residual_in_fp32`` says so."""

    def __init__(self, config: Any, norm: nn.Module, mixer: nn.Module) -> None:
        super().__init__()
        self.norm = norm
        self.mixer = mixer
        self.residual_in_fp32 = config.residual_in_fp32

    def forward(self, hidden_states: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        weight: Any = self.norm.weight
        mixed: torch.Tensor = self.mixer(self.norm(hidden_states.to(weight.dtype)), **kwargs)
        return (hidden_states.float() if self.residual_in_fp32 else hidden_states) + mixed
