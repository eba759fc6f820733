"""Layer normalization."""

from torch import nn


class LayerNorm(nn.LayerNorm):
    """Mean 0 and variance 1 over the last dimension, then a weight and a bias.

    Ba, Kiros and Hinton, "Layer Normalization", 2016.
    """

    def __init__(self, size: int, eps: float = 1e-5) -> None:
        super().__init__(size, eps=eps)
