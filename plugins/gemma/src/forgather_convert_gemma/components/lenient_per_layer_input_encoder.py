"""Inputs of layers also for tokens and vectors for which the layers have no vectors."""

import torch

from .context import Context
from .per_layer_input_encoder import PerLayerInputEncoder, rounded_product


class LenientPerLayerInputEncoder(PerLayerInputEncoder):
    """Takes token 0 for those that the layers' table lacks; factors are rounded to the dtype.

    If only embeddings are given, their projection alone is the layers' input.

    Gemma Team, "Gemma 3n", 2025.
    """

    def own_vectors(self, context: Context, hidden_states: torch.Tensor) -> torch.Tensor | None:
        if context.input_ids is None:
            return context.per_layer_inputs
        return self.looked_up(context.input_ids)

    def looked_up(self, token_ids: torch.Tensor) -> torch.Tensor:
        is_known = (token_ids >= 0) & (token_ids < self.per_layer_embedding.num_embeddings)
        return super().looked_up(torch.where(is_known, token_ids, 0))

    def scaled(self, vectors: torch.Tensor, factor: float) -> torch.Tensor:
        return rounded_product(vectors, factor)
