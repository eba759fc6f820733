"""The experts of a layer, with biases, and with gate and up interleaved."""

from typing import Any

import torch
from torch import nn
from transformers import GptOssConfig

from .experts_implementation import use_experts_implementation


@use_experts_implementation(is_concatenated=False, is_transposed=True, has_bias=True)
class BiasedExperts(nn.Module):
    """``((clamp(up) + 1) * swish(clamp(gate))) @ down`` of the experts chosen for each token.

    The parameters are ``gate_up_proj``, ``[experts, hidden, 2 * inner]`` with gate and up
    interleaved, and ``down_proj``, ``[experts, inner, hidden]``, each with a bias. The swish has
    the factor ``swiglu_alpha``, and the clamp the bound ``swiglu_limit``, as in gpt-oss.
    transformers before 5.19 uses the same factor and bound for all models.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        hidden, inner = config.hidden_size, config.intermediate_size
        self.num_experts = config.num_experts
        self.gate_up_proj = nn.Parameter(torch.empty(self.num_experts, hidden, 2 * inner))
        self.gate_up_proj_bias = nn.Parameter(torch.zeros(self.num_experts, 2 * inner))
        self.down_proj = nn.Parameter(torch.empty(self.num_experts, inner, hidden))
        self.down_proj_bias = nn.Parameter(torch.zeros(self.num_experts, hidden))
        self.alpha, self.limit = 1.702, 7.0
        if hasattr(GptOssConfig, "swiglu_limit"):
            self.alpha = getattr(config, "swiglu_alpha", self.alpha)
            self.limit = getattr(config, "swiglu_limit", self.limit)
        for parameter in (self.gate_up_proj, self.down_proj):
            nn.init.normal_(parameter, std=config.initializer_range)

    def forward(
        self, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor
    ) -> torch.Tensor:
        """Returns the weighted sum of the experts' outputs; see ``GatedExperts``."""
        output = torch.zeros_like(hidden_states)
        for expert in torch.unique(top_k_index):
            rank, token = torch.where((top_k_index == expert).T)
            gate_up = hidden_states[token] @ self.gate_up_proj[expert]
            inner = self._apply_gate(gate_up + self.gate_up_proj_bias[expert])
            result = inner @ self.down_proj[expert] + self.down_proj_bias[expert]
            weighted = result * top_k_weights[token, rank, None]
            output.index_add_(0, token, weighted.to(output.dtype))
        return output

    def _apply_gate(self, gate_up: torch.Tensor) -> torch.Tensor:
        # transformers' implementations call it by this name.
        gate = gate_up[..., ::2].clamp(min=None, max=self.limit)
        up = gate_up[..., 1::2].clamp(min=-self.limit, max=self.limit)
        return (up + 1) * (gate * torch.sigmoid(gate * self.alpha))
