"""Reports the effect of a new maximum length on scaled RoPE."""

import logging
from collections.abc import Iterator

from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.source.config_file import SourceConfig
from forgather_convert.source.rope import ORIGINAL_LENGTH, RopeParameters, read_rope

logger = logging.getLogger(__name__)

_LONGEST = "max_position_embeddings"


def report_rope_length(config: SourceConfig, hooks: FamilyHooks, max_length: int) -> None:
    """Warns about what changes beyond the old maximum length, and what does not."""
    longest = config.get(_LONGEST)
    if not hooks.uses_rope() or longest is None or longest == max_length:
        return
    for rope in {rope.rope_type: rope for rope in _each(config)}.values():
        if rope.rope_type == "dynamic":
            logger.warning(
                "--max-length also moves the length beyond which RoPE of the type 'dynamic' is "
                "scaled, from %d to %d. For sequences of more than %d tokens, the result computes "
                "different logits than the source",
                longest,
                max_length,
                min(longest, max_length),
            )
        elif rope.rope_type != "default" and max_length > longest:
            logger.warning(
                "--max-length does not change the scaling of RoPE (%s), which is designed for up "
                "to %d positions. The logits of the first %d positions are those of the source; "
                "further positions are computed in the same way, although it was not designed for "
                "them",
                _described(rope),
                longest,
                longest,
            )


def _each(config: SourceConfig) -> Iterator[RopeParameters]:
    rope = read_rope(config, config.origin)
    yield rope
    yield from rope.by_kind.values()


def _described(rope: RopeParameters) -> str:
    names = ("factor", ORIGINAL_LENGTH)
    options = [f"{name} {rope.options[name]}" for name in names if name in rope.options]
    return ", ".join([f"type '{rope.rope_type}'", *options])
