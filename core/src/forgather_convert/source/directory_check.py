"""Checks the files of a source before anything opens them.

transformers opens some of them by itself. Files that would make it crash or hang are refused
here, by name.
"""

import os
from pathlib import Path
from typing import Any

from forgather_convert.errors import SourceError
from forgather_convert.files.json_file import (
    MAX_TABLE_SIZE,
    kind_of,
    read_json,
    read_json_object,
)
from forgather_convert.files.lfs_pointer import refuse_lfs_pointer
from forgather_convert.source.config_file import CONFIG_FILE
from forgather_convert.source.tokenizer_directory import (
    MAX_TEMPLATE_SIZE,
    SPECIAL_TOKENS_FILE,
    TEMPLATE_FILE,
    TOKENIZER_CONFIG_FILE,
)

#: The maximum size of a vocabulary; the largest today have some 260,000 tokens.
MAX_VOCABULARY = 1 << 22
TOKENIZER_FILE = "tokenizer.json"
_GENERATION_CONFIG_FILE = "generation_config.json"
_ADDED_TOKENS_FILE = "added_tokens.json"
_DECODER = "added_tokens_decoder"
#: JSON files that transformers or this package reads, besides the config.
_OBJECTS = (
    _GENERATION_CONFIG_FILE,
    TOKENIZER_FILE,
    TOKENIZER_CONFIG_FILE,
    SPECIAL_TOKENS_FILE,
    _ADDED_TOKENS_FILE,
)
#: Other files that transformers reads with a tokenizer, with their maximum sizes in bytes.
_LARGEST = {
    TEMPLATE_FILE: MAX_TEMPLATE_SIZE,
    "merges.txt": MAX_TABLE_SIZE,
    "tokenizer.model": MAX_TABLE_SIZE,
}
#: Any other tokenizer files are read by transformers only.
FILES_THAT_ARE_READ = (CONFIG_FILE, *_OBJECTS, "vocab.json", *_LARGEST)
#: Those of a tokenizer.
TOKENIZER_FILES = frozenset(FILES_THAT_ARE_READ) - {CONFIG_FILE, _GENERATION_CONFIG_FILE}


def check_entries(directory: Path) -> None:
    """Refuses a directory with files that cannot be read.

    Entries that are neither files nor directories are left to the side files if not needed.

    Raises:
        SourceError: A link points to itself, or a required file is no regular file or cannot be
            read.
    """
    try:
        paths = sorted(directory.iterdir())
    except OSError as error:
        raise SourceError(
            f"{directory} cannot be read: {error.strerror or error}. Check its permissions."
        ) from error
    for path in paths:
        _check_entry(path)


def _check_entry(path: Path) -> None:
    is_read = path.name in FILES_THAT_ARE_READ
    try:
        status = path.stat()
        kind = kind_of(status.st_mode)
    except FileNotFoundError as error:
        if is_read:
            raise SourceError(
                f"{path} is a link to a file that does not exist. Download it again."
            ) from error
        return
    except OSError as error:
        raise SourceError(
            f"{path} cannot be read: {error.strerror or error}. Delete it, or fix where it "
            "leads to."
        ) from error
    if is_read and kind is not None:
        raise SourceError(f"{path} is {kind}, not a file. Delete it, or download it again.")
    if kind is None and not os.access(path, os.R_OK):
        raise SourceError(f"{path} cannot be read: Permission denied. Check its permissions.")
    if is_read:
        refuse_lfs_pointer(path)
    largest = _LARGEST.get(path.name)
    if largest is not None and status.st_size > largest:
        raise SourceError(
            f"{path} has {status.st_size >> 20} MiB; files of its kind must be at most "
            f"{largest >> 20} MiB. Fix it, or download it again."
        )


def check_json_files(directory: Path, with_tokenizer: bool = True) -> None:
    """Reads every JSON file of a model that transformers will read, and checks its token ids.

    Args:
        directory: The directory of the model.
        with_tokenizer: Whether to read ``tokenizer.json``, too, which takes longest.

    Raises:
        SourceError: A file is damaged, too large or nested too deeply, or has ids that are too
            large for any vocabulary.
    """
    contents: dict[str, dict[str, Any]] = {
        name: read_json_object(directory / name)
        for name in _OBJECTS
        if (directory / name).is_file() and (with_tokenizer or name != TOKENIZER_FILE)
    }
    vocabulary = directory / "vocab.json"
    if vocabulary.is_file():
        content = read_json(vocabulary)
        if isinstance(content, dict):
            _check_ids(content.values(), vocabulary)
    if TOKENIZER_FILE in contents:
        _check_tokenizer(contents[TOKENIZER_FILE], directory / TOKENIZER_FILE)
    if _ADDED_TOKENS_FILE in contents:
        _check_ids(contents[_ADDED_TOKENS_FILE].values(), directory / _ADDED_TOKENS_FILE)
    decoder = contents.get(TOKENIZER_CONFIG_FILE, {}).get(_DECODER)
    if decoder is not None:
        path = directory / TOKENIZER_CONFIG_FILE
        if not isinstance(decoder, dict) or not all(
            isinstance(flags, dict) for flags in decoder.values()
        ):
            raise SourceError(
                f"In {path}, '{_DECODER}' must be an object with an object for each token. "
                "Download it again."
            )
        _check_ids((_as_number(key) for key in decoder), path)


def _check_tokenizer(content: dict[str, Any], path: Path) -> None:
    added = content.get("added_tokens", [])
    if not isinstance(added, list) or not all(
        isinstance(entry, dict) and isinstance(entry.get("content"), str) for entry in added
    ):
        raise SourceError(
            f"In {path}, 'added_tokens' must be a list of objects with 'id' and 'content'. "
            "Download it again."
        )
    _check_ids((entry.get("id") for entry in added), path)
    model = content.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(vocabulary, dict):
        _check_ids(vocabulary.values(), path)
    elif isinstance(vocabulary, list):
        _check_ids((len(vocabulary),), path)


def _check_ids(ids: Any, path: Path) -> None:
    for value in ids:
        if type(value) is not int or not 0 <= value < MAX_VOCABULARY:
            raise SourceError(
                f"{path} gives a token the id {str(value)[:40]}; it must be a whole number from 0 "
                f"to {MAX_VOCABULARY - 1}. Fix it, or download it again."
            )


def _as_number(key: str) -> int | str:
    # int() also reads "1_0" and " 10".
    return int(key) if key.isascii() and key.isdigit() and len(key) < 20 else key
