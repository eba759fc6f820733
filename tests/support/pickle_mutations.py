"""Pickles and zip files that are wrong in one place or several."""

import pickletools
import struct
from collections.abc import Sequence

from hypothesis import strategies as st

#: What runs code when it is called, and what a checkpoint may name.
_GLOBALS = (
    b"cposix\nsystem\n",
    b"cbuiltins\neval\n",
    b"cbuiltins\nexec\n",
    b"cbuiltins\ngetattr\n",
    b"cos\nmkdir\n",
    b"cpathlib\nPath\n",
    b"ctorch\nload\n",
    b"ctorch\nempty\n",
    b"ctorch\nSize\n",
    b"ctorch\nfloat32\n",
    b"ctorch\nFloatStorage\n",
    b"ctorch.hub\nload\n",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ctorch._utils\n_rebuild_parameter\n",
    b"ctorch._utils\n_rebuild_sparse_tensor\n",
    b"ctorch._utils\n_rebuild_wrapper_subclass\n",
    b"ctorch._tensor\n_rebuild_from_type_v2\n",
    b"ccollections\nOrderedDict\n",
    b"ccollections\nCounter\n",
)
_NUMBERS = (0, 1, -1, 2, 3, 7, 255, 2**16, 2**31 - 1, -(2**31))
_OPCODES = (
    *_GLOBALS,
    *(b"J" + struct.pack("<i", number) for number in _NUMBERS),
    b"\x8a\x09" + b"\xff" * 8 + b"\x00",
    b"G" + struct.pack(">d", float("nan")),
    # Lengths that the file does not have.
    b"X\xff\xff\xff\x7f",
    b"\x8d" + b"\xff" * 7 + b"\x7f",
    b"\x8e" + b"\xff" * 7 + b"\x7f",
    b"\x95" + b"\xff" * 7 + b"\x7f",
    b"\x8b\xff\xff\xff\x7f",
    # Places in the memo that do not exist, and one that is far away.
    b"h\xff",
    b"j\xff\xff\xff\x7f",
    b"r\xff\xff\xff\x7f",
    b"q\x00",
    b"h\x00",
    b"h\x01",
    # Arguments for what was named: a command that would leave a mark.
    b"(X\x0a\x00\x00\x00touch MARKt",
    b"X\x01\x00\x00\x00a",
    b"(",
    b")",
    b"]",
    b"}",
    b"t",
    b"\x85",
    b"\x86",
    b"\x87",
    b"R",
    b"\x81",
    b"\x93",
    b"b",
    b"s",
    b"u",
    b"a",
    b"e",
    b"Q",
    b"0",
    b"1",
    b"2",
    b"N",
    b"\x88",
    b"\x82\x01",
    b"(i__main__\nrun\n",
    b".",
)


def opcodes(pickled: bytes) -> list[bytes]:
    """A pickle, opcode by opcode."""
    starts = [position for _, _, position in pickletools.genops(pickled)]
    ends = (*starts[1:], len(pickled))
    return [pickled[start or 0 : end] for start, end in zip(starts, ends, strict=True)]


@st.composite
def changed_pickles(draw: st.DrawFn, pickled: bytes) -> bytes:
    """A pickle in which opcodes are exchanged, added, removed, repeated or moved."""
    codes = opcodes(pickled)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(codes) - 1))
        end = start + draw(st.integers(0, 3))
        new = draw(
            st.one_of(
                st.lists(st.sampled_from(_OPCODES), min_size=1, max_size=3),
                st.just(codes[start:end] * draw(st.sampled_from([2, 3]))),
                st.just(_with_another_number(codes[start], draw(st.sampled_from(_NUMBERS)))),
                st.lists(st.sampled_from(codes), min_size=1, max_size=3),
                st.just([]),
            )
        )
        codes[start:end] = new
        codes = codes or [b"."]
    # Deeper than any stack.
    repeated = draw(st.sampled_from([1] * 20 + [100_000]))
    place = draw(st.integers(0, len(codes)))
    codes[place:place] = [draw(st.sampled_from([b"(", b"]", b"}", b"\x85", b"2"]))] * (repeated - 1)
    return b"".join(codes)


def _with_another_number(code: bytes, number: int) -> list[bytes]:
    """Shapes, strides and places are numbers of these opcodes."""
    return [b"J" + struct.pack("<i", number)] if code[:1] in b"KMJ" else [code]


#: The fields of an entry in a zip file's directory, and of the end of the directory: place, format.
_ENTRY = (
    *((8, "<H"), (10, "<H"), (16, "<I"), (20, "<I"), (24, "<I")),
    *((28, "<H"), (30, "<H"), (32, "<H"), (38, "<I"), (42, "<I")),
)
_END = ((4, "<H"), (8, "<H"), (10, "<H"), (12, "<I"), (16, "<I"), (20, "<H"))
_LOCAL = ((6, "<H"), (8, "<H"), (18, "<I"), (22, "<I"), (26, "<H"), (28, "<H"))
_RECORDS: Sequence[tuple[bytes, Sequence[tuple[int, str]]]] = (
    (b"PK\x01\x02", _ENTRY),
    (b"PK\x05\x06", _END),
    (b"PK\x03\x04", _LOCAL),
)


@st.composite
def changed_archives(draw: st.DrawFn, data: bytes) -> bytes:
    """A zip file with other numbers in its records, or names that it has already."""
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 3))):
        signature, fields = draw(st.sampled_from(_RECORDS))
        places = _find_all(changed, signature)
        if not places:
            continue
        place = draw(st.sampled_from(places))
        offset, code = draw(st.sampled_from(fields))
        limit = 256 ** struct.calcsize(code)
        (old,) = struct.unpack_from(code, changed, place + offset)
        new = draw(
            st.one_of(
                st.sampled_from([0, 1, limit // 2, limit - 1, len(data), *places]),
                st.sampled_from([old + step for step in range(-8, 9)]),
            )
        )
        struct.pack_into(code, changed, place + offset, new % limit)
    if draw(st.integers(0, 3)) == 0:
        one, other = draw(st.tuples(*[st.sampled_from([b"/data/0", b"/data/1", b"/version"])] * 2))
        changed = bytearray(bytes(changed).replace(one, other.ljust(len(one))[: len(one)]))
    return bytes(changed)


def _find_all(data: bytes | bytearray, part: bytes) -> list[int]:
    return [place for place in range(len(data)) if data.startswith(part, place)]
