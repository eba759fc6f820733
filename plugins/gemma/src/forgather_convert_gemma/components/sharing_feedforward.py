"""A feed-forward block that may be wider in layers that reuse keys and values."""

from typing import Any

from .gated_feedforward import GatedFeedforward


class SharingFeedforward(GatedFeedforward):
    """With ``use_double_wide_mlp``, it is twice as wide where attention reuses keys and values."""

    def __init__(self, config: Any, layer_idx: int) -> None:
        modes = getattr(config, "kv_sharing_modes", None)
        is_wide = config.use_double_wide_mlp and modes and modes[layer_idx] == "reuse"
        super().__init__(config, config.intermediate_size * (2 if is_wide else 1))
