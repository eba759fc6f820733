"""Headers of safetensors files.

The format, from https://github.com/huggingface/safetensors: an unsigned 64-bit
little-endian length, that many bytes of JSON, padded with spaces, then the tensors'
bytes without gaps. The JSON maps names to ``dtype``, ``shape`` and ``data_offsets``,
which count from the end of the JSON, and ``__metadata__`` to strings.

The package ``safetensors`` reads tensors, but does not tell their positions in the file, which are
needed to copy byte ranges.
"""

import json
import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgather_convert.errors import SourceError
from forgather_convert.files.file_errors import with_filename
from forgather_convert.files.json_file import parse_json_object
from forgather_convert.files.plain_text import is_plain, one_line
from forgather_convert.tensors.dtypes import (
    dtype_size,
    from_safetensors,
    tensor_bytes,
    to_safetensors,
)
from forgather_convert.tensors.tensor_ref import TensorRef

_LENGTH = struct.Struct("<Q")
#: The limit of the reference implementation, in bytes.
_MAX_HEADER = 100_000_000
METADATA_KEY = "__metadata__"
#: The fields of a tensor, in the order in which the reference accepts them as a list.
_FIELDS = ("dtype", "shape", "data_offsets")
#: The reference uses 64-bit numbers.
_LIMIT = 1 << 64
#: Dtype, shape, and where the bytes begin and end.
_Entry = tuple[str, tuple[int, ...], int, int]


@dataclass(frozen=True)
class SafetensorsHeader:
    """The header of a file.

    Attributes:
        text: The exact JSON in the file, including its padding.
        tensors: The tensors with their positions, in the order of their bytes.
        metadata: The strings stored in the file.
    """

    text: str
    tensors: tuple[TensorRef, ...]
    metadata: Mapping[str, str]

    @property
    def data_start(self) -> int:
        """Where the tensors' bytes begin in the file."""
        return _LENGTH.size + len(self.text.encode("utf-8"))


def read_header(path: Path) -> SafetensorsHeader:
    """Reads and checks a header.

    Raises:
        SourceError: The file is not safetensors, is truncated, or is inconsistent.
    """
    size = path.stat().st_size
    with with_filename(path), path.open("rb") as file:
        prefix = file.read(_LENGTH.size)
        if len(prefix) < _LENGTH.size:
            raise SourceError(
                f"{path} is too short to be a safetensors file ({size} bytes). Download it again."
            )
        (length,) = _LENGTH.unpack(prefix)
        if length > min(_MAX_HEADER, size - _LENGTH.size):
            raise SourceError(
                f"{path} is not a safetensors file or is truncated: its header would take "
                f"{length} bytes, but the file has {size}. Download it again."
            )
        raw = file.read(length)
    return parse_header(raw, path, size)


def parse_header(raw: bytes, path: Path, file_size: int) -> SafetensorsHeader:
    """Parses the JSON of a header and checks it against the size of its file, in bytes."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _damaged(str(path), "it is not UTF-8") from error
    header = parse_header_text(text, str(path))
    end = header.data_start
    if header.tensors:
        # They are in the order of their places, without gaps.
        last = header.tensors[-1]
        end = last.offset + last.num_bytes
    if file_size != end:
        problem = "is truncated" if file_size < end else "has bytes after its tensors"
        raise SourceError(
            f"{path} {problem}: its header describes {end} bytes, but the file has {file_size}. "
            "Download it again."
        )
    return header


def parse_header_text(text: str, file_name: str) -> SafetensorsHeader:
    """Parses the JSON of a header.

    Raises:
        SourceError: It is damaged, or the tensors overlap or leave gaps.
    """
    try:
        header = parse_json_object(text, "it", _DECODER.decode)
    except SourceError as error:
        raise _damaged(file_name, str(error).partition(". ")[0]) from error
    assert isinstance(header, _Object)
    entries: dict[str, _Entry] = {}
    for name, value in header.pairs:
        if name != METADATA_KEY:
            entries[name] = _read_entry(name, value, file_name)

    path = Path(file_name)
    start = _LENGTH.size + len(text.encode("utf-8"))
    tensors = []
    shapes: dict[tuple[int, ...], tuple[int, ...]] = {}
    position = 0
    for name, (dtype, shape, begin, end) in sorted(
        entries.items(), key=lambda item: (item[1][2], item[1][3])
    ):
        # Thousands of tensors have few shapes.
        ref = TensorRef(name, dtype, shapes.setdefault(shape, shape), path, start + begin)
        if begin != position or end - begin != ref.num_bytes:
            raise _damaged(file_name, f"'{name}' cannot lie at bytes {begin} to {end}")
        position = end
        tensors.append(ref)
    return SafetensorsHeader(
        text=text, tensors=tuple(tensors), metadata=_read_metadata(header, file_name)
    )


class _Object(dict[str, Any]):
    """A JSON object that also knows whether a key occurs twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs

    def has_duplicate_key(self, *names: str) -> bool:
        if len(self) == len(self.pairs):
            return False
        return any([name for name, _ in self.pairs].count(each) > 1 for each in names)


def _whole_number(text: str) -> int | float:
    # The reference uses 64 bits; larger numbers, and -0, are floating-point numbers there.
    number = int(text)
    return number if abs(number) < _LIMIT and text != "-0" else _number(text)


def _number(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"the number {text[:20]} is out of range")
    return number


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_Object,
    parse_int=_whole_number,
    parse_float=_number,
    parse_constant=_no_number,
)


def _read_metadata(header: _Object, file_name: str) -> dict[str, str]:
    metadata = header.get(METADATA_KEY)
    if header.has_duplicate_key(METADATA_KEY):
        raise _damaged(file_name, f"{METADATA_KEY} occurs twice")
    if metadata is None:
        return {}
    if not isinstance(metadata, _Object) or not all(
        isinstance(value, str) for _, value in metadata.pairs
    ):
        raise _damaged(file_name, f"{METADATA_KEY} contains other values than strings")
    return dict(metadata)


def _read_entry(name: str, entry: Any, file_name: str) -> _Entry:
    if not is_plain(name):
        raise _damaged(file_name, f"the name '{one_line(name)}' has control characters")
    try:
        if isinstance(entry, _Object):
            if entry.has_duplicate_key(*_FIELDS):
                raise ValueError("a field occurs twice")
            entry = [entry[field] for field in _FIELDS]
        # The reference also accepts a list of the three.
        code, shape, (begin, end) = entry
        shape = tuple(shape) if isinstance(shape, list) else None
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(file_name, f"'{name}' lacks its dtype, shape or offsets") from error
    # Not isinstance: True and False are not sizes.
    if shape is None or not all(
        type(number) is int and number >= 0 for number in (*shape, begin, end)
    ):
        raise _damaged(file_name, f"'{name}' has a shape or offsets that are not whole numbers")
    dtype = from_safetensors(code) if isinstance(code, str) else None
    if dtype is None:
        raise _damaged(file_name, f"'{name}' has the unknown dtype {code!r}")
    if _overflows(dtype, shape):
        raise _damaged(file_name, f"'{name}' has more elements than can be counted")
    return dtype, shape, begin, end


def _overflows(dtype: str, shape: tuple[int, ...]) -> bool:
    """Whether the reference, which multiplies from the left in 64 bits, cannot count the bits."""
    count = 1
    for size in shape:
        count *= size
        if count >= _LIMIT:
            return True
    return count * 8 * dtype_size(dtype) >= _LIMIT


def _damaged(file_name: str, problem: str) -> SourceError:
    return SourceError(
        f"{file_name} has a damaged safetensors header: {problem}. Download it again."
    )


def build_header(
    tensors: Iterable[tuple[str, str, tuple[int, ...]]],
    metadata: Mapping[str, str],
    align_to: int | None = None,
) -> str:
    """The JSON for consecutive tensors in the given order.

    Args:
        tensors: Name, dtype and shape of each.
        metadata: The strings to store in the file.
        align_to: Where, modulo 4096, the tensors' bytes should begin in the file. If the remainder
            is the same as in the source file, a file system can share the blocks instead of
            copying them.

    Returns:
        The JSON, padded with spaces so that the bytes begin at a multiple of 8.
    """
    content: dict[str, Any] = {METADATA_KEY: dict(metadata)} if metadata else {}
    position = 0
    for name, dtype, shape in tensors:
        size = tensor_bytes(dtype, shape)
        content[name] = {
            "dtype": to_safetensors(dtype),
            "shape": list(shape),
            "data_offsets": [position, position + size],
        }
        position += size
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    start = _LENGTH.size + len(text.encode("utf-8"))
    step, target = (8, 0) if align_to is None or align_to % 8 else (4096, align_to)
    padding = (target - start) % step
    return text + " " * padding


def encode_header(text: str) -> bytes:
    """The bytes before the tensors: the length and the JSON."""
    raw = text.encode("utf-8")
    return _LENGTH.pack(len(raw)) + raw
