"""Writes safetensors files with any legal header: not all tools write them as transformers does."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

_CODES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
_FORMAT = {"format": "pt"}


def write_safetensors(
    path: Path,
    state: Mapping[str, torch.Tensor],
    metadata: Mapping[str, str] | None = _FORMAT,
    metadata_last: bool = False,
    header_reversed: bool = False,
    separators: tuple[str, str] = (",", ":"),
    length_modulo_8: int = 0,
    more_spaces: int = 0,
) -> None:
    """Writes tensors in the order of the dictionary.

    Args:
        path: The file.
        state: The tensors, in the order of their bytes.
        metadata: The content of ``__metadata__``; ``None`` leaves it out.
        metadata_last: Whether it follows the tensors.
        header_reversed: Whether the header lists the tensors from the last to the first.
        separators: What ``json.dumps`` puts between items and behind keys.
        length_modulo_8: The remainder of the header's length, which the format leaves free.
        more_spaces: How many spaces follow the header beyond that.
    """
    entries: dict[str, Any] = {}
    position = 0
    for name, tensor in state.items():
        end = position + tensor.nbytes
        entries[name] = {
            "dtype": _CODES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [position, end],
        }
        position = end
    if header_reversed:
        entries = dict(reversed(entries.items()))
    first = {} if metadata is None or metadata_last else {"__metadata__": metadata}
    last = {"__metadata__": metadata} if metadata is not None and metadata_last else {}
    text = json.dumps({**first, **entries, **last}, separators=separators).encode()
    text += b" " * ((length_modulo_8 - len(text)) % 8 + more_spaces)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in state.values():
            file.write(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)


def read_header_bytes(path: Path) -> bytes:
    """The header of a file, with its padding."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return file.read(length)
