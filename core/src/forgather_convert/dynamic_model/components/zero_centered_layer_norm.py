"""Layer normalization with weights around zero."""

import torch
from torch import nn


class ZeroCenteredLayerNorm(nn.LayerNorm):
    """A layer norm that multiplies by one plus the weight, in the dtype of an autocast region."""

    def __init__(self, size: int, eps: float = 1e-5) -> None:
        super().__init__(size, eps=eps)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        device = hidden_states.device.type
        weight = self.weight + 1.0
        bias: torch.Tensor = self.bias
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
            hidden_states, weight, bias = (each.to(dtype) for each in (hidden_states, weight, bias))
        with torch.autocast(device, enabled=False):
            return nn.functional.layer_norm(
                hidden_states, self.normalized_shape, weight, bias, self.eps
            )
