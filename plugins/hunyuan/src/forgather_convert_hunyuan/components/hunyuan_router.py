"""The router of Hunyuan."""

from typing import Any

import torch

from .experts_implementation import HAS_STACKED_EXPERTS
from .softmax_router import SoftmaxRouter


class HunyuanRouter(SoftmaxRouter):
    """A softmax router in float32, if its weights are.

    ``num_experts_per_tok`` may be a list, with a number for each layer.
    """

    def __init__(self, config: Any, layer_idx: int) -> None:
        super().__init__(config)
        chosen = config.num_experts_per_tok
        self.top_k = chosen if isinstance(chosen, int) else chosen[layer_idx]
        # Whatever the dtype of the model is.
        self.float()

    def forward(
        self, hidden_states: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns the logits, ``[tokens, experts]``, the chosen experts and their weights."""
        logits, experts, weights = super().forward(hidden_states.to(self.weight.dtype))
        return logits, experts, weights if HAS_STACKED_EXPERTS else weights.to(hidden_states.dtype)
