"""Token ids for the checks."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from forgather_convert.source.tokenizer_directory import has_tokenizer, load_tokenizer

logger = logging.getLogger(__name__)

#: Where there is no tokenizer: so many ids, spread over the vocabulary.
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
        # A tokenizer that does not load is no reason not to check the weights.
        logger.warning(
            "The tokenizer in %s cannot be loaded (%s: %s); using fixed token ids",
            directory,
            type(error).__name__,
            str(error).splitlines()[0] if str(error) else "",
        )
        return None


def fixed_ids(tokens: Sequence[int]) -> list[int]:
    """A choice of the given token ids that does not depend on a tokenizer."""
    return [tokens[(position * _STRIDE + 1) % len(tokens)] for position in range(_NUM_IDS)]


def prompt_ids(directory: Path, hf_config: Any, prompt: str, tokens: Sequence[int]) -> list[int]:
    """A prompt's token ids; fixed ones where the tokenizer is missing or gives others.

    Args:
        directory: Where the tokenizer is.
        hf_config: The model's config on its Hugging Face side.
        prompt: The text.
        tokens: The ids that may be used.
    """
    tokenizer = try_load_tokenizer(directory, hf_config)
    if tokenizer is None:
        return fixed_ids(tokens)
    ids = [int(token) for token in tokenizer(prompt)["input_ids"]]
    if not ids or not set(ids) <= set(tokens):
        logger.info("The prompt's tokens are not all in both models; using fixed token ids")
        return fixed_ids(tokens)
    return ids
