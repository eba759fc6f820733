"""The router of Granite's experts."""

import torch
from torch.nn import functional

from .router import Router


class FloatSoftmaxRouter(Router):
    """Chooses the experts with the largest logits; the softmax of these gives their weights.

    Both are computed in float32, from logits in the dtype of the model.
    """

    gives_logits = True

    def forward(
        self, hidden_states: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns the logits, ``[tokens, experts]``, the chosen experts and their weights."""
        logits = functional.linear(hidden_states, self.weight).float()
        chosen, experts = logits.topk(self.top_k, dim=-1)
        weights = torch.softmax(chosen, dim=-1).type_as(hidden_states)
        return logits, experts, weights
