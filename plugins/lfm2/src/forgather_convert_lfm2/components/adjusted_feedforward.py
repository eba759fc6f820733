"""A feed-forward block whose size is derived from another one."""

from typing import Any

from .gated_feedforward import GatedFeedforward


def adjusted_size(config: Any) -> int:
    """Two thirds of ``intermediate_size``, times a factor and rounded up, if the config says so."""
    size: int = config.intermediate_size
    if not config.block_auto_adjust_ff_dim:
        return size
    size = int(2 * size / 3)
    if config.block_ffn_dim_multiplier is None:
        return size
    size = int(config.block_ffn_dim_multiplier * size)
    multiple: int = config.block_multiple_of
    return multiple * ((size + multiple - 1) // multiple)


class AdjustedFeedforward(GatedFeedforward):
    """A gated block of the size that LFM2 derives."""

    def __init__(self, config: Any) -> None:
        super().__init__(config, adjusted_size(config))
