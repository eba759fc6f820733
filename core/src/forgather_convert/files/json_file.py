"""Reads the JSON files of a source, which is not trusted.

Refuses directory entries that are not regular files, files that are unreasonably large, text that
is not UTF-8, values that are nested unreasonably deep, and strings that are not valid text (lone
surrogates, which UTF-8 cannot encode). ``NaN`` and ``Infinity`` are accepted, since transformers
reads and writes them; code that needs a finite number checks for it. If a key occurs twice, the
last value is used, as in transformers.
"""

import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from forgather_convert.errors import SourceError
from forgather_convert.files.lfs_pointer import refuse_lfs_pointer

#: How deep lists and objects may be nested. Configs have a few levels; Python's own limit is near
#: 1000, and copying or writing a value needs several calls for each level.
MAX_DEPTH = 100
#: The maximum size of a file, in bytes. The largest config files have some megabytes.
MAX_SIZE = 32 << 20
#: Files with an entry for every token, tensor or training step; some have 40 MB.
MAX_TABLE_SIZE = 256 << 20
_TABLES = (
    "tokenizer.json",
    "vocab.json",
    "forgather_conversion.json",
    "trainer_state.json",
    ".index.json",
)
_CONTAINERS = frozenset({dict, list})
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def read_json_object(path: Path) -> dict[str, Any]:
    """Reads a file that must contain a JSON object.

    Raises:
        SourceError: It does not, or is refused.
    """
    return _object(read_json(path), str(path))


def read_json(path: Path) -> Any:
    """Reads a file with any JSON value.

    Raises:
        SourceError: It is damaged or refused.
    """
    return parse_json(read_text(path), str(path))


def parse_json_object(
    text: str, origin: str, decode: Callable[[str], Any] = json.loads
) -> dict[str, Any]:
    """Parses text that must be a JSON object.

    Args:
        text: The text.
        origin: Where it is from, for messages.
        decode: Decodes the value; its ``ValueError`` says what is wrong.

    Raises:
        SourceError: It is not a JSON object.
    """
    return _object(parse_json(text, origin, decode), origin)


def parse_json(text: str, origin: str, decode: Callable[[str], Any] = json.loads) -> Any:
    """Parses JSON.

    Args:
        text: The text.
        origin: Where it is from, for messages.
        decode: Decodes the value; its ``ValueError`` says what is wrong.

    Raises:
        SourceError: It is not JSON, is nested too deeply, or has strings that are not valid text.
    """
    if text.startswith("\ufeff"):
        raise SourceError(
            f"{origin} begins with a byte order mark, which JSON must not have. Save it as UTF-8 "
            "without one."
        )
    try:
        content = decode(text)
    except RecursionError as error:
        raise _too_deep(origin) from error
    # Also for a number with thousands of digits.
    except ValueError as error:
        raise SourceError(
            f"{origin} cannot be read as JSON: {error}. Fix it, or download it again."
        ) from error
    if _is_too_deep(content):
        raise _too_deep(origin)
    # UTF-8 has no surrogates, so they can only be written as escapes.
    if "\\ud" in text or "\\uD" in text:
        _refuse_surrogates(content, origin)
    return content


def read_text(path: Path) -> str:
    """Reads a text file of a source.

    Raises:
        SourceError: It is not a regular file, too large for its kind, unreadable or not UTF-8.
    """
    limit = MAX_TABLE_SIZE if path.name.endswith(_TABLES) else MAX_SIZE
    try:
        # Opening a named pipe would wait for another process to write into it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            kind = kind_of(status.st_mode)
            if kind is not None:
                raise SourceError(f"{path} is {kind}, not a file. Give it as a file.")
            # One more byte, to detect a file that grows.
            data = b"" if status.st_size > limit else file.read(limit + 1)
            if max(status.st_size, len(data)) > limit:
                raise SourceError(
                    f"{path} has {status.st_size >> 20} MiB; files of its kind must be at most "
                    f"{limit >> 20} MiB. Fix it, or download it again."
                )
        refuse_lfs_pointer(path, data)
        return data.decode("utf-8")
    except OSError as error:
        raise SourceError(
            f"{path} cannot be read: {error.strerror or error}. Fix it, or download it again."
        ) from error
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{path} cannot be read: it is not UTF-8 ({error.reason} at byte {error.start}). "
            "Fix it, or download it again."
        ) from error


def kind_of(mode: int) -> str | None:
    """The kind of a file that is not regular, for messages; ``None`` for a regular file."""
    return None if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "something else")


def _object(content: Any, origin: str) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise SourceError(f"{origin} does not contain a JSON object. Fix it, or download it again.")
    return content


def _too_deep(origin: str) -> SourceError:
    return SourceError(
        f"{origin} is nested too deeply: lists or objects are nested in more than {MAX_DEPTH} "
        "others. Fix it, or download it again."
    )


def _is_too_deep(content: Any) -> bool:
    """Checks level by level, without recursion, which would have its own limit."""
    level = [content] if type(content) in _CONTAINERS else []
    for _ in range(MAX_DEPTH):
        # The largest files have millions of items; values read from JSON have no subclasses.
        level = [
            item
            for node in level
            for item in (node.values() if type(node) is dict else node)
            if type(item) in _CONTAINERS
        ]
        if not level:
            return False
    return True


def _refuse_surrogates(content: Any, origin: str) -> None:
    for path, text in _texts(content, ""):
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            shown = path.encode("utf-8", "backslashreplace").decode("utf-8")
            where = f"in '{shown}'" if path else "at the top level"
            raise SourceError(
                f"{origin} has an invalid character {where}: the surrogate "
                f"\\u{ord(text[error.start]):04x} without its other half. Fix it, or download "
                "it again."
            ) from error


def _texts(content: Any, path: str) -> Iterator[tuple[str, str]]:
    """All strings of a value, including keys, with their paths."""
    if isinstance(content, str):
        yield path, content
    elif isinstance(content, dict):
        for key, value in content.items():
            inner = f"{path}.{key}" if path else key
            yield inner, key
            yield from _texts(value, inner)
    elif isinstance(content, list):
        for index, value in enumerate(content):
            yield from _texts(value, f"{path}[{index}]")
