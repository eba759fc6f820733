"""The short convolution of LFM2."""

from typing import Any, ClassVar

from transformers.models.lfm2 import modeling_lfm2
from transformers.models.lfm2.modeling_lfm2 import Lfm2ShortConv

from .transformers_mixer import TransformersMixer


class ShortConvolution(TransformersMixer, Lfm2ShortConv):  # type: ignore[misc]
    """The gated short convolution of LFM2.

    Liquid AI, "LFM2 Technical Report", 2025. The module is that of transformers.
    """

    cache_class: ClassVar[Any] = getattr(modeling_lfm2, "Lfm2HybridConvCache", None)

    def __init__(self, config: Any, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
