"""Reports the effect of a new maximum length on scaled RoPE, and none on the tokenizer."""

import logging
from collections.abc import Iterator
from pathlib import Path

from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.files.json_file import read_json_object
from forgather_convert.source.config_file import SourceConfig
from forgather_convert.source.rope import ORIGINAL_LENGTH, RopeParameters, read_rope
from forgather_convert.source.tokenizer_directory import TOKENIZER_CONFIG_FILE

logger = logging.getLogger(__name__)

_LONGEST = "max_position_embeddings"
#: For a tokenizer without a limit, transformers writes a larger number.
_NO_LIMIT = 2**31


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


def report_tokenizer_length(directory: Path, max_length: int) -> None:
    """Warns that the tokenizer keeps its limit if the model gets a different one.

    Raises:
        SourceError: The tokenizer's config cannot be read.
    """
    path = directory / TOKENIZER_CONFIG_FILE
    stated = read_json_object(path).get("model_max_length") if path.is_file() else None
    if isinstance(stated, int | float) and stated < _NO_LIMIT and stated != max_length:
        logger.warning(
            "--max-length sets the maximum length of the model only; the tokenizer keeps its "
            "'model_max_length' of %d. To change it, too, edit the result's %s",
            stated,
            TOKENIZER_CONFIG_FILE,
        )
