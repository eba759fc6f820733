"""Routers that choose experts by their probabilities."""

from typing import Any

import torch
from torch.nn import functional

from .experts_implementation import HAS_STACKED_EXPERTS, LOGITS_ARE_PROBABILITIES
from .router import Router


class SoftmaxRouter(Router):
    """Chooses the ``num_experts_per_tok`` most probable experts; weights are their probabilities.

    The weights of a token are normalized to a sum of one if the config sets ``norm_topk_prob``.

    Shazeer et al., "Outrageously Large Neural Networks: The Sparsely-Gated Mixture-of-Experts
    Layer", 2017.
    """

    gives_logits = True
    #: Whether the weights stay in float32.
    is_precise = False

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.norm_topk_prob = config.norm_topk_prob

    def forward(
        self, hidden_states: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns the logits, ``[tokens, experts]``, the chosen experts and their weights.

        As in some versions of transformers, probabilities may take the place of the logits.
        """
        logits = functional.linear(hidden_states, self.weight)
        probabilities = functional.softmax(logits, dim=-1, dtype=torch.float32)
        weights, experts = torch.topk(probabilities, self.top_k, dim=-1)
        if self.norm_topk_prob:
            weights = weights / weights.sum(dim=-1, keepdim=True)
        if LOGITS_ARE_PROBABILITIES:
            logits = probabilities
        if not self.is_precise:
            # They differ under autocast.
            weights = weights.to((logits if HAS_STACKED_EXPERTS else hidden_states).dtype)
        return logits, experts, weights


class PreciseSoftmaxRouter(SoftmaxRouter):
    """A softmax router with weights in float32 in transformers 5 (Mixtral)."""

    is_precise = HAS_STACKED_EXPERTS
