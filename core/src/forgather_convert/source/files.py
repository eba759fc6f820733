"""Files of the destination other than weights."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from forgather_convert.errors import SourceError
from forgather_convert.files.file_state import FileState

#: The maximum length on Linux's file systems, in bytes.
_MAX_NAME = 255


def check_file_name(name: str) -> None:
    """Refuses a name that is not a plain file name.

    Names come from the source: from its directory and its provenance. With this check, no name in
    a plan can be a path. Unusual characters are kept, and escaped when they are displayed.

    Raises:
        SourceError: It is a path, or not a possible file name.
    """
    is_path = name in ("", ".", "..") or any(separator in name for separator in "/\\\0")
    # Linux allows any bytes in a name; one that is not valid text is one character here.
    if is_path or len(name.encode("utf-8", "replace")) > _MAX_NAME:
        raise SourceError(
            f"The source names a file {name[:_MAX_NAME]!r}, which is not a plain file name. "
            "Nothing is written outside the destination. Rename the file, or delete the source's "
            "forgather_conversion.json if the name comes from there."
        )


@dataclass(frozen=True)
class WriteFile:
    """A file whose content is part of the plan."""

    name: str
    content: bytes

    def __post_init__(self) -> None:
        check_file_name(self.name)


@dataclass(frozen=True)
class CopyFile:
    """A file that is copied unchanged.

    Attributes:
        name: Its name in the destination.
        source: The file.
        state: Its state when the copy was planned.
    """

    name: str
    source: Path
    state: FileState

    def __post_init__(self) -> None:
        check_file_name(self.name)


def encode_json(content: object, sort_keys: bool = False) -> bytes:
    """The content of a JSON file, formatted like those that transformers writes."""
    text = json.dumps(content, indent=2, sort_keys=sort_keys, ensure_ascii=False)
    return (text + "\n").encode("utf-8")


def sha256(data: bytes) -> str:
    """The hash of a file's content, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
