"""Token ids for the checks."""

import logging
from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from forgather_convert.errors import first_line
from forgather_convert.source.config_objects import parts_of
from forgather_convert.source.tokenizer_directory import has_tokenizer, load_tokenizer

logger = logging.getLogger(__name__)

#: How many ids, spread over the vocabulary, replace a prompt if there is no tokenizer.
_NUM_IDS = 32
_STRIDE = 7919


def try_load_tokenizer(directory: Path, hf_config: Any) -> Any:
    """Loads a directory's tokenizer for a check.

    Returns:
        ``None`` if there is none, or if the installed transformers cannot read it.
    """
    if not has_tokenizer(directory):
        return None
    try:
        return load_tokenizer(directory, hf_config)
    except Exception as error:
        # The logits can be compared without the tokenizer.
        logger.warning(
            "The tokenizer in %s cannot be loaded (%s: %s); using fixed token ids",
            directory,
            type(error).__name__,
            first_line(error),
        )
        return None


def fixed_ids(tokens: Sequence[int], count: int = _NUM_IDS) -> list[int]:
    """Chooses some of the given token ids, without a tokenizer."""
    return [tokens[(position * _STRIDE + 1) % len(tokens)] for position in range(count)]


def tokens_of_text(tokens: Sequence[int], configs: Iterable[Any]) -> Sequence[int]:
    """The token ids that are text in every model.

    A part of a composite may have a table for the ids from its ``vocab_offset`` on (Gemma 3n); its
    text model alone has vectors of its own for them.

    Args:
        tokens: Ids in ascending order.
        configs: The models' config objects.
    """
    offsets = [getattr(part, "vocab_offset", None) for each in configs for part in parts_of(each)]
    ends = [bisect_left(tokens, offset) for offset in offsets if offset is not None]
    return tokens[: min(ends, default=len(tokens))]


def tokenize(directory: Path, hf_config: Any, prompt: str) -> list[int] | None:
    """A prompt's token ids; ``None`` if there is no tokenizer that can be loaded.

    Args:
        directory: The directory of the tokenizer.
        hf_config: The model's Hugging Face config.
        prompt: The text.
    """
    tokenizer = try_load_tokenizer(directory, hf_config)
    if tokenizer is None:
        return None
    return [int(token) for token in tokenizer(prompt)["input_ids"]]


def choose_ids(
    source: Sequence[int] | None, result: Sequence[int] | None, tokens: Sequence[int]
) -> list[int]:
    """The token ids to run two models on.

    They are those of the source's tokenizer, or fixed ones if there is none or it produces ids
    that are not in both models. Warns if the result's tokenizer produces other ids.

    Args:
        source: The prompt in the source's tokens.
        result: The prompt in the result's tokens.
        tokens: The ids that mean the same in both models.
    """
    common = range(tokens.start, tokens.stop) if isinstance(tokens, range) else frozenset(tokens)
    if source is not None and result is not None:
        _report_difference(source, result, common)
    if not source or not all(token in common for token in source):
        if source:
            logger.info("Not all of the prompt's tokens are in both models; using fixed token ids")
        return fixed_ids(tokens)
    return list(source)


def _report_difference(
    source: Sequence[int], result: Sequence[int], common: Collection[int]
) -> None:
    for position, (one, other) in enumerate(zip_longest(source, result)):
        if one == other:
            continue
        if other is not None and other not in common:
            logger.info("The result's tokenizer uses new tokens for the prompt: id %d", other)
            return
        logger.warning(
            "The tokenizers of source and result split the prompt differently: token %d is %s in "
            "the source and %s in the result",
            position,
            "missing" if one is None else f"id {one}",
            "missing" if other is None else f"id {other}",
        )
        return
