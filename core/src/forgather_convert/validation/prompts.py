"""Token ids for the checks."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json")
#: Where there is no tokenizer: so many ids, spread over the vocabulary.
_NUM_IDS = 32
_STRIDE = 7919


def has_tokenizer(directory: Path) -> bool:
    return any((directory / name).is_file() for name in _TOKENIZER_FILES)


def load_tokenizer(directory: Path) -> Any:
    """Loads a directory's tokenizer, without code that it may bring.

    Returns:
        ``None`` if there is none, or if the installed transformers cannot read it.
    """
    if not has_tokenizer(directory):
        return None
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(
            directory, trust_remote_code=False, local_files_only=True
        )
    except Exception as error:
        # Any exception: the many tokenizer classes do not agree on one, and a tokenizer
        # that does not load is no reason not to check the weights.
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


def prompt_ids(directory: Path, prompt: str, tokens: Sequence[int]) -> list[int]:
    """A prompt's token ids; fixed ones where the tokenizer is missing or gives others.

    Args:
        directory: Where the tokenizer is.
        prompt: The text.
        tokens: The ids that may be used.
    """
    tokenizer = load_tokenizer(directory)
    if tokenizer is None:
        return fixed_ids(tokens)
    ids = [int(token) for token in tokenizer(prompt)["input_ids"]]
    if not ids or not set(ids) <= set(tokens):
        logger.info("The prompt's tokens are not all in both models; using fixed token ids")
        return fixed_ids(tokens)
    return ids
