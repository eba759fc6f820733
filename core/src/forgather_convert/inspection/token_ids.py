"""Reads the ids of a tokenizer's tokens without the rest of ``tokenizer.json``.

Most of such a file are the tokenizer's merges, and reading them takes most of the time.
"""

import json
import re
from pathlib import Path
from typing import Any

from forgather_convert.errors import SourceError
from forgather_convert.files.json_file import read_text

_DECODER = json.JSONDecoder()


def read_token_ids(path: Path) -> frozenset[int] | None:
    """The ids of all tokens; ``None`` if there is no such file, or it does not list them.

    Raises:
        SourceError: The file or its list of tokens cannot be read.
    """
    if not path.is_file():
        return None
    text = read_text(path)
    vocabulary, added = (_value_of(key, text, path) for key in ("vocab", "added_tokens"))
    if isinstance(vocabulary, dict):
        ids: list[Any] = list(vocabulary.values())
    elif isinstance(vocabulary, list):
        # Unigram models: pairs of a token and its score, in the order of their ids.
        ids = list(range(len(vocabulary)))
    else:
        return None
    if isinstance(added, list):
        ids += [token.get("id") for token in added if isinstance(token, dict)]
    return frozenset(value for value in ids if type(value) is int)


def _value_of(key: str, text: str, path: Path) -> Any:
    """The value of the first occurrence of a key, at any depth; ``None`` if there is none."""
    # Inside a string, its quotes would be escaped.
    match = re.search(rf'(?<!\\)"{key}"\s*:\s*', text)
    if match is None:
        return None
    try:
        return _DECODER.raw_decode(text, match.end())[0]
    except (ValueError, RecursionError) as error:
        raise SourceError(
            f"{path} cannot be read as JSON: {error}. Fix it, or download it again."
        ) from error
