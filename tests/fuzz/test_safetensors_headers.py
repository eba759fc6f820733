"""Headers are accepted exactly where the safetensors library accepts them."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open

from forgather_convert import SourceError
from forgather_convert.files.plain_text import is_plain
from forgather_convert.weights.safetensors_file import read_header
from support.fuzzing import changed_bytes, changed_values, times

pytestmark = pytest.mark.version_independent

#: The bits of an element. torch, and so this tool, has no numbers of 4 or 6 bits by themselves.
BITS = {"F64": 64, "I64": 64, "F32": 32, "U16": 16, "BF16": 16, "F8_E4M3": 8, "BOOL": 8, "U8": 8}
SMALL = ("F4", "F6_E2M3", "F6_E3M2")


@st.composite
def headers(draw: st.DrawFn) -> tuple[dict[str, Any], int]:
    """A valid header and the number of bytes behind it."""
    header: dict[str, Any] = {}
    if draw(st.booleans()):
        header["__metadata__"] = {"format": "pt"}
    end = 0
    for name in draw(st.lists(st.text(max_size=4), max_size=3, unique=True)):
        dtype = draw(st.sampled_from(sorted(BITS)))
        shape = draw(st.lists(st.integers(0, 4), max_size=3))
        start, size = end, BITS[dtype] // 8
        for length in shape:
            size *= length
        end += size
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    return header, end


@st.composite
def files(draw: st.DrawFn) -> bytes:
    header, size = draw(headers())
    if draw(st.booleans()):
        header = draw(changed_values(header))
    text = json.dumps(header, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    if draw(st.booleans()):
        text = draw(changed_bytes(text))
    text += b" " * draw(st.integers(0, 8))
    length = len(text) + (draw(st.integers(-1, 1)) if draw(st.integers(0, 9)) == 0 else 0)
    size += draw(st.integers(-1, 1)) if draw(st.integers(0, 9)) == 0 else 0
    return struct.pack("<Q", max(0, length)) + text + bytes(max(0, size))


@times(20, few=10)
@given(data=files())
def test_what_the_library_accepts(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    try:
        with safe_open(path, framework="np") as file:
            expected = set(file.keys()), file.metadata() or {}
    except SafetensorError:
        with pytest.raises(SourceError):
            read_header(path)
        return
    try:
        header = read_header(path)
    except SourceError:
        names, _ = expected
        assert any(dtype.encode() in data for dtype in SMALL) or not all(map(is_plain, names))
        return
    assert ({ref.name for ref in header.tensors}, dict(header.metadata)) == expected
