"""The norm of Llama 4."""

from .rms_norm import RMSNorm


class Llama4RMSNorm(RMSNorm):
    """An RMS norm with another default, which servers see."""

    def __init__(self, size: int, eps: float = 1e-5) -> None:
        super().__init__(size, eps=eps)
