"""What is read from ``.bin`` files is what torch loads from them, or it is refused."""

import io
import pickle
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from forgather_convert.errors import SourceError
from forgather_convert.weights.mapped_file import TensorReader
from forgather_convert.weights.pytorch_file import read_tensor_refs
from support.zip_files import repack

pytestmark = pytest.mark.version_independent

_VALUES = torch.arange(24.0).reshape(4, 6)


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


def _assert_read_as_torch_does(path: Path) -> None:
    expected = torch.load(path, weights_only=True)
    refs = read_tensor_refs(path)
    assert [ref.name for ref in refs] == list(expected)
    with TensorReader() as reader:
        for ref in refs:
            tensor, value = reader.read(ref), expected[ref.name]
            assert (tensor.dtype, tensor.shape) == (value.dtype, value.shape)
            assert torch.equal(_bits(tensor), _bits(value)), ref.name


def _dtypes() -> dict[str, torch.Tensor]:
    types = [
        *("float16", "bfloat16", "float32", "float64", "bool", "int8", "uint8", "int16"),
        *("int32", "int64", "float8_e4m3fn", "float8_e5m2", "complex64"),
    ]
    return {name: _VALUES.to(getattr(torch, name)) for name in types}


def _views() -> dict[str, torch.Tensor]:
    return {
        "transposed": _VALUES.t(),
        "rows": _VALUES[1:3],
        "block": _VALUES[1:3, 2:5],
        "steps": _VALUES[::2, 1::3],
        "expanded": _VALUES[0].expand(5, 6),
        "diagonal": _VALUES.diagonal(),
        "tied": _VALUES,
        "scalar": torch.tensor(3.0),
        "empty": torch.empty(0, 3),
        "empty view": _VALUES[4:],
        "one": _VALUES[2:3, 3:4],
    }


def _sizes() -> dict[str, torch.Tensor]:
    """Storages of many sizes, so that the gaps between them are of many sizes, too."""
    return {str(size): torch.arange(size, dtype=torch.uint8) for size in range(0, 200, 7)}


_PLAIN: dict[str, Callable[[], dict[str, torch.Tensor]]] = {
    "dtypes": _dtypes,
    "views": _views,
    "sizes": _sizes,
    "parameters": lambda: {"a": torch.nn.Parameter(_VALUES), "b": torch.nn.Parameter(_VALUES.t())},
    "module": lambda: torch.nn.Sequential(
        torch.nn.Linear(3, 5), torch.nn.LayerNorm(5)
    ).state_dict(),
}
plain = pytest.mark.parametrize("kind", _PLAIN)


@plain
def test_files_as_torch_writes_them(kind: str, tmp_path: Path) -> None:
    torch.save(_PLAIN[kind](), tmp_path / "a.bin")
    _assert_read_as_torch_does(tmp_path / "a.bin")


_PACKED: dict[str, dict[str, Any]] = {
    "without alignment": {},
    "comment": {"comment": b"packed again"},
    "extra fields": {"extra": struct.pack("<HH5s", 0xCAFE, 5, b"extra")},
    "64 bits": {"zip64": True},
    "backwards": {"order": lambda names: [names[0], *reversed(names[1:])]},
    "folders": {"folders": True},
    "other root": {"rename": lambda name: "weights/" + name.split("/", 1)[1]},
    "no format version": {"change": {".format_version": None}},
    "no byte order": {"change": {"byteorder": None}},
    "other alignment": {"change": {".storage_alignment": b"4096"}},
}


@plain
@pytest.mark.parametrize("how", _PACKED)
def test_files_that_were_packed_again(how: str, kind: str, tmp_path: Path) -> None:
    """Storages do not lie where torch would have put them."""
    path = tmp_path / "a.bin"
    torch.save(_PLAIN[kind](), path)
    repack(path, **_PACKED[how])
    # torch.load recomputes the places, too, when it maps a file or makes fake tensors; not here.
    _assert_read_as_torch_does(path)


def test_attributes_of_tensors_do_not_hide_their_methods(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    tensor = _VALUES.t()[1:]
    hidden = {
        "untyped_storage": 1,
        "stride": (1, 1),
        "storage_offset": 5,
        "is_contiguous": True,
        "is_neg": 0,
    }
    tensor.__dict__.update({name.upper(): value for name, value in hidden.items()})
    torch.save({"a": tensor}, path)
    with zipfile.ZipFile(path) as archive:
        pickled = archive.read("a/data.pkl")
    for name in hidden:
        assert name.upper().encode() in pickled
        pickled = pickled.replace(name.upper().encode(), name.encode())
    repack(path, {"data.pkl": pickled})
    (ref,) = read_tensor_refs(path)
    with TensorReader() as reader:
        assert torch.equal(reader.read(ref), _VALUES.t()[1:])


# What is refused


def _refused(path: Path, *expected: str) -> None:
    with pytest.raises(SourceError) as caught:
        read_tensor_refs(path)
    message = str(caught.value)
    assert str(path) in message
    for text in expected:
        assert text in message
    assert "\x1b" not in message


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "a.bin"
    torch.save({"a": _VALUES, "b": _VALUES.clone()}, path)
    return path


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_compressed_files(compression: int, saved: Path) -> None:
    repack(saved, compression=compression)
    _refused(saved, "compressed", "zip -0")


@pytest.mark.parametrize("order", [b"big", b"middle", b""])
def test_other_orders_of_bytes(order: bytes, saved: Path) -> None:
    repack(saved, {"byteorder": order})
    _refused(saved, "byte order", "save it again")


def _unusual() -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            "negative bit": torch._neg_view(_VALUES),
            "negated imaginary part": _VALUES.to(torch.complex64).conj().imag,
            "conjugate bit": _VALUES.to(torch.complex64).conj(),
            "complex128": _VALUES.to(torch.complex128),
            "quantized": torch.quantize_per_tensor(_VALUES, 0.1, 0, torch.qint8),
            "sparse": _VALUES.to_sparse(),
            "sparse rows": _VALUES.to_sparse_csr(),
            "nested": torch.nested.nested_tensor([_VALUES, _VALUES[:2]]),
            "meta": _VALUES.to("meta"),
            "own class": _VALUES.as_subclass(OwnTensor),
            "dictionary": {"b": _VALUES},
            "number": 3,
        }


class OwnTensor(torch.Tensor):
    """A class that only the file's writer has."""


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("negative bit", "negative bit"),
        ("negated imaginary part", "negative bit"),
        ("conjugate bit", "conjugate bit"),
        ("complex128", "complex128"),
        ("quantized", "quantized tensors"),
        ("sparse", "sparse tensors"),
        ("sparse rows", "sparse tensors"),
        ("nested", "nested tensors"),
        ("meta", "tensors without values"),
        ("own class", "OwnTensor"),
        ("dictionary", "besides tensors"),
        ("number", "besides tensors"),
    ],
)
def test_values_that_are_not_plain_bytes(kind: str, expected: str, tmp_path: Path) -> None:
    torch.save({"a": _VALUES, "x": _unusual()[kind]}, tmp_path / "a.bin")
    _refused(tmp_path / "a.bin", expected)


@pytest.mark.parametrize("content", [{}, [_VALUES], _VALUES, {1: _VALUES}], ids=repr)
def test_contents_that_are_no_dictionary_of_tensors(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "a.bin")
    _refused(tmp_path / "a.bin", "tensors")


def test_a_key_that_cannot_be_shown(saved: Path) -> None:
    """A tuple in a tuple in a tuple: to describe it takes more recursion than Python has."""
    depth = 3000
    nested = b")" + depth * b"\x85"
    repack(saved, {"data.pkl": b"\x80\x02}" + nested + b"K\x01s."})
    _refused(saved, "contains int under a key of tuple besides tensors")


def test_the_format_before_1_6(tmp_path: Path) -> None:
    torch.save({"a": _VALUES}, tmp_path / "a.bin", _use_new_zipfile_serialization=False)
    _refused(tmp_path / "a.bin", "before 1.6", "save it again")


def test_tar_files(saved: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "b.bin", "w") as tar:
        tar.add(saved, "storages")
    _refused(tmp_path / "b.bin", "before 1.6")


def test_torchscript(saved: Path) -> None:
    """Such archives have what torch.save writes, and their program and its constants."""
    repack(saved, rename=lambda name: name.replace(".data/serialization_id", "constants.pkl"))
    _refused(saved, "TorchScript", "state_dict()")


@pytest.mark.parametrize("size", [0, 2, 50, 500, -1, -30])
def test_files_that_are_cut_short(size: int, saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:size])
    _refused(saved, "truncated or not a PyTorch checkpoint")


@pytest.mark.parametrize("missing", ["a/data.pkl", "a/version", "a/data/0"])
def test_archives_that_lack_something(missing: str, saved: Path) -> None:
    repack(saved, {missing: None})
    _refused(saved)


def test_storages_that_are_too_small(saved: Path) -> None:
    repack(saved, {"data/1": b"\0" * (_VALUES.nbytes - 1)})
    _refused(saved, "'b' would need 96 bytes", "has 95")


def test_views_that_reach_behind_their_storage(tmp_path: Path) -> None:
    torch.save({"a": _VALUES[3:, 3:]}, tmp_path / "a.bin")
    repack(tmp_path / "a.bin", {"data/0": b"\0" * (_VALUES.nbytes - 4)})
    _refused(tmp_path / "a.bin", "'a' would need 96 bytes")


def test_empty_tensors_that_begin_behind_their_storage(saved: Path) -> None:
    class Described:
        def __reduce__(self) -> tuple[Any, ...]:
            return torch._utils._rebuild_tensor_v2, (_Stored(), 2**62, (0,), (), False, {})

    class _Stored:
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            kind = torch.FloatStorage
            return ("storage", kind, "1", "cpu", 24) if isinstance(obj, _Stored) else None

    pickled = io.BytesIO()
    Pickler(pickled, protocol=2).dump({"a": Described()})
    repack(saved, {"data.pkl": pickled.getvalue()})
    with pytest.raises(RuntimeError, match="overflowed"):
        torch.load(saved, weights_only=True)
    _refused(saved, "'a' would need")


def _central_directory(data: bytearray, name: bytes) -> int:
    """Where the directory of a zip file describes an entry."""
    return data.rindex(b"PK\x01\x02", 0, data.rindex(name))


def test_entries_that_overlap(saved: Path) -> None:
    repack(saved)
    data = bytearray(saved.read_bytes())
    first, second = (_central_directory(data, name) for name in (b"a/data/0", b"a/data/1"))
    data[second + 42 : second + 46] = data[first + 42 : first + 46]
    saved.write_bytes(data)
    _refused(saved, "overlaps")


def test_entries_that_reach_behind_the_end(saved: Path) -> None:
    repack(saved)
    data = bytearray(saved.read_bytes())
    entry = _central_directory(data, b"a/data/1")
    data[entry + 20 : entry + 28] = struct.pack("<II", 1 << 30, 1 << 30)
    saved.write_bytes(data)
    _refused(saved, "overlaps")


def test_two_entries_of_one_name(saved: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(saved, "a") as archive:
        archive.writestr("a/data/0", b"\0" * _VALUES.nbytes)
    _refused(saved, "two entries")


def test_pickles_that_are_damaged(saved: Path) -> None:
    repack(saved, {"data.pkl": b"\x80\x02}q\x00"})
    _refused(saved)


def test_storages_that_are_larger_than_the_pickle_says(saved: Path) -> None:
    """The size is a sign of damage, for torch, too."""
    repack(saved, {"data/0": b"\0" * (_VALUES.nbytes + 4)})
    _refused(saved, "its storage")


@pytest.mark.parametrize(
    ("offset", "value", "words"),
    [
        (8, 0x40, "encrypted"),
        (38, 0x10, "marked as a folder"),
        (32, 7, "does not end"),
    ],
    ids=["strongly encrypted", "folder", "comment behind the end"],
)
def test_entries_that_torch_does_not_read(saved: Path, offset: int, value: int, words: str) -> None:
    """Of a folder it would give what is in memory."""
    data = bytearray(saved.read_bytes())
    last = _central_directory(data, b"serialization_id")
    data[last + offset : last + offset + 2] = struct.pack("<H", value)
    saved.write_bytes(data)
    _refused(saved, words)


def test_entries_with_two_names(saved: Path) -> None:
    data = bytearray(saved.read_bytes())
    first = data.index(b"PK\x03\x04", 1)
    (length,) = struct.unpack_from("<H", data, first + 26)
    struct.pack_into("<H", data, first + 26, length - 1)
    saved.write_bytes(data)
    _refused(saved, "two names")


@pytest.mark.parametrize(
    ("name", "content"), [(".storage_alignment", b"ZZ"), (".data/serialization_id", b"\xff")]
)
def test_notes_that_are_damaged(saved: Path, name: str, content: bytes) -> None:
    repack(saved, {name: content})
    _refused(saved, name)


def test_steps_that_are_negative(saved: Path) -> None:
    with zipfile.ZipFile(saved) as archive:
        pickled = archive.read("a/data.pkl")
    # The strides (6, 1) of the first tensor.
    changed = pickled.replace(b"K\x06K\x01\x86", b"J\xff\xff\xff\xffK\x01\x86", 1)
    assert changed != pickled
    repack(saved, {"data.pkl": changed})
    _refused(saved, "negative numbers")
