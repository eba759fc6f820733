"""The norm of OLMoE."""

from .rms_norm import RMSNorm


class OlmoeNorm(RMSNorm):
    """RMS norm with an epsilon of its own, for servers that build one from its size alone."""

    def __init__(self, size: int, eps: float = 1e-5) -> None:
        super().__init__(size, eps)
