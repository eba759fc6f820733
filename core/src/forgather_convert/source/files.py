"""Files of the destination that hold no weights."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class WriteFile:
    """A file whose content the plan holds."""

    name: str
    content: bytes


@dataclass(frozen=True)
class CopyFile:
    """A file that is taken over as it is."""

    name: str
    source: Path


def encode_json(content: object, sort_keys: bool = False) -> bytes:
    """A JSON file as transformers writes them."""
    text = json.dumps(content, indent=2, sort_keys=sort_keys, ensure_ascii=False)
    return (text + "\n").encode("utf-8")


def sha256(data: bytes) -> str:
    """The hash of a file's content, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
