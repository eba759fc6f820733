"""An input encoder that scales the vectors of tokens, but not those that are given."""

import torch

from .context import Context
from .input_encoder import InputEncoder


class ScaledTokenEncoder(InputEncoder):
    """Embeds the tokens, and multiplies their vectors by ``embedding_multiplier``."""

    def embed(self, context: Context) -> torch.Tensor:
        if context.inputs_embeds is not None:
            return context.inputs_embeds
        vectors: torch.Tensor = super().embed(context)
        return vectors
