"""Rotary positions with a larger base."""

from dataclasses import replace
from typing import Any

import torch

from .experts_implementation import HAS_STACKED_EXPERTS
from .rotary_embedding import Frequencies, RotaryEmbedding, RotaryFrequencies, default_frequencies


class StretchedFrequencies(RotaryFrequencies):
    """The frequencies for a base that the RoPE parameter ``alpha`` stretches.

    Beyond the maximum length, transformers 4 stretches it by the length instead.
    """

    def _derived(self, seq_len: Any = None) -> Frequencies:
        if seq_len is not None and not HAS_STACKED_EXPERTS:
            return super()._derived(seq_len)
        rope, parameters = self.rope, self.rope.parameters
        theta = parameters["rope_theta"] * parameters["alpha"] ** (rope.dim / (rope.dim - 2))
        # Models are built on the meta device.
        with torch.device("cpu"):
            return default_frequencies(
                replace(rope, parameters={**parameters, "rope_theta": theta})
            )


class StretchedRotaryEmbedding(RotaryEmbedding):
    """A rotary embedding of ``StretchedFrequencies``, if the config has ``alpha``."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.embeddings[:] = [
            StretchedFrequencies(each.rope)
            if each.rope_type == "dynamic" and each.rope.parameters.get("alpha")
            else each
            for each in self.embeddings
        ]
