"""Locates the tensors in a file written by ``torch.save``.

The file is an uncompressed zip archive with a pickle that describes the tensors, and one entry
with the bytes of each storage, ``data/<key>``. The pickle tells which part of which storage a
tensor is; the archive's directory tells where the storages are.
"""

import io
import pickletools
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from forgather_convert.errors import SourceError
from forgather_convert.tensors.dtypes import dtype_size, from_torch
from forgather_convert.tensors.tensor_ref import TensorRef
from forgather_convert.weights.zip_archive import ZipEntry, read_zip_entries

if TYPE_CHECKING:
    import torch

_ZIP_SIGNATURE = b"PK\x03\x04"
#: The start of a bare pickle; torch before 1.6 wrote several in a row.
_PICKLE_SIGNATURE = b"\x80"
#: The same limit as for the header of a safetensors file, in bytes.
_MAX_PICKLE = 100_000_000
_PICKLE = "data.pkl"
_VERSION = "version"
_STORAGES = "data/"
#: Small entries that torch writes: the version of the format (``caffe2/serialize/versions.h``), a
#: number, and an id in digits.
_NOTES: Mapping[str, Callable[[bytes], object]] = {
    _VERSION: lambda content: range(1, 11).index(int(content)),
    ".storage_alignment": int,
    ".data/serialization_id": bytes.decode,
}
_MAX_NOTE = 1000
#: The attribute of a storage in which its key in the archive is noted.
_KEY = "_forgather_key"
#: Functions of torch._utils that a pickle calls for tensors whose values are not their bytes.
_UNUSUAL = {
    "_rebuild_sparse_tensor": "sparse tensors",
    "_rebuild_qtensor": "quantized tensors",
    "_rebuild_nested_tensor": "nested tensors",
    "_rebuild_meta_tensor_no_storage": "tensors without values (of the device 'meta')",
    "_rebuild_wrapper_subclass": "tensors of a custom class",
}
_SAVE_AGAIN = "If you trust it, load it with torch and save it again as safetensors."


@dataclass(frozen=True)
class Archive:
    """The entries of an archive.

    Attributes:
        pickled: The pickle.
        storages: The entry of every storage, by its key.
    """

    pickled: bytes
    storages: Mapping[str, ZipEntry]


def open_archive(path: Path, file: BinaryIO) -> Archive:
    """Reads an archive without the bytes of its storages.

    Raises:
        SourceError: It is damaged or compressed, or was not written by ``torch.save`` of version
            1.6 or later on a little-endian machine.
    """
    head = file.read(len(_ZIP_SIGNATURE))
    if head[:1] == _PICKLE_SIGNATURE or (head != _ZIP_SIGNATURE and _is_tar(file)):
        raise SourceError(
            f"{path} is in the format of torch before 1.6, or a bare pickle, which cannot be read "
            f"in parts. {_SAVE_AGAIN}"
        )
    if head != _ZIP_SIGNATURE:
        raise _not_a_checkpoint(path, "it is not a zip archive")
    try:
        entries = read_zip_entries(file)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as error:
        raise _not_a_checkpoint(path, str(error)) from error

    roots = [name.removesuffix(_PICKLE) for name in entries if name.endswith("/" + _PICKLE)]
    roots = [root for root in roots if root.count("/") == 1]
    if len(roots) != 1:
        raise _not_a_checkpoint(path, f"it has {len(roots)} entries {_PICKLE} instead of one")
    own = {name.removeprefix(roots[0]): entry for name, entry in entries.items()}
    if "constants.pkl" in own:
        raise SourceError(
            f"{path} is a TorchScript archive: a program with its weights. "
            "Save the state_dict() of the model that it was made from."
        )
    storages = {
        name.removeprefix(_STORAGES): entry
        for name, entry in own.items()
        if name.startswith(_STORAGES) and name != _STORAGES
    }
    if _VERSION not in own:
        raise _not_a_checkpoint(path, f"it has no entry {_VERSION}")
    for entry in entries.values():
        if not entry.is_stored:
            raise SourceError(
                f"{path} is compressed or encrypted ({entry.name!r}); torch does not write such "
                "files, and they cannot be read in parts. Unpack it and pack it again without "
                "compression (zip -0), or load it with torch and save it again."
            )
    if own[_PICKLE].size > _MAX_PICKLE:
        raise _not_a_checkpoint(path, f"its {_PICKLE} takes {own[_PICKLE].size} bytes")
    _refuse_foreign_byte_order(path, file, own.get("byteorder"))
    _refuse_damaged_notes(path, file, own)
    return Archive(_read(file, own[_PICKLE]), storages)


def _refuse_foreign_byte_order(path: Path, file: BinaryIO, entry: ZipEntry | None) -> None:
    """Refuses archives that are not little-endian; torch before 2.1 did not record the order."""
    if entry is None:
        return
    order = _read(file, entry) if entry.is_stored and entry.size < 16 else b"?"
    if order != b"little":
        raise SourceError(
            f"{path} was written on a machine with another byte order ({order!r}). {_SAVE_AGAIN}"
        )


def _refuse_damaged_notes(path: Path, file: BinaryIO, entries: Mapping[str, ZipEntry]) -> None:
    """Refuses damaged entries that torch refuses, although locating tensors does not need them."""
    for name, parse in _NOTES.items():
        if name not in entries:
            continue
        if entries[name].size > _MAX_NOTE:
            raise _not_a_checkpoint(path, f"its {name!r} takes {entries[name].size} bytes")
        try:
            parse(_read(file, entries[name]))
        except ValueError as error:
            raise _not_a_checkpoint(path, f"its {name!r} is damaged") from error


def _refuse_unusual_kinds(path: Path, pickled: bytes) -> None:
    """Scans the pickle without running it."""
    try:
        codes = [(code.name, arg) for code, arg, _ in pickletools.genops(pickled)]
    # The exceptions for damaged pickles are not documented.
    except Exception as error:
        raise _not_a_checkpoint(path, f"its {_PICKLE} is damaged") from error
    # Sizes, steps and offsets are never negative; for tensors without bytes torch ignores that.
    if any(isinstance(arg, int) and arg < 0 for _, arg in codes):
        raise _not_a_checkpoint(path, f"its {_PICKLE} has negative numbers")
    names = {arg for name, arg in codes if name == "GLOBAL"}
    for function, kind in _UNUSUAL.items():
        if f"torch._utils {function}" in names:
            raise SourceError(
                f"{path} contains {kind}, whose values are not plain bytes in the file. "
                f"{_SAVE_AGAIN}"
            )


def _read(file: BinaryIO, entry: ZipEntry) -> bytes:
    file.seek(entry.start)
    return file.read(entry.size)


def _is_tar(file: BinaryIO) -> bool:
    file.seek(257)
    return file.read(5) == b"ustar"


def describe(path: Path, archive: Archive) -> Any:
    """Loads the tensors that an archive's pickle describes, without bytes.

    The pickle is read by torch's restricted unpickler, which runs no code from the file. What it
    asks for as a storage is one of the device ``meta``, which notes its key in the archive.

    Raises:
        SourceError: It describes anything but plain tensors, or is damaged.
    """
    import torch
    import torch._weights_only_unpickler

    def storage(persistent_id: Any) -> Any:
        _, kind, key, _, num_elements = persistent_id
        if type(num_elements) is not int or key not in archive.storages:
            raise ValueError("it describes a storage that is not in the archive")
        dtype = torch.uint8 if kind is torch.UntypedStorage else kind.dtype
        untyped = constructors.UntypedStorage(num_elements * dtype.itemsize, device="meta")
        setattr(untyped, _KEY, key)
        return constructors.TypedStorage(wrap_storage=untyped, dtype=dtype, _internal=True)

    # They have no types.
    constructors: Any = torch
    _refuse_unusual_kinds(path, archive.pickled)
    content = io.BytesIO(archive.pickled)
    unpickler: Any = torch._weights_only_unpickler.Unpickler(content, encoding="utf-8")
    unpickler.persistent_load = storage
    try:
        return unpickler.load()
    # A damaged or hostile file can make the unpickler raise anything.
    except Exception as error:
        asked_for = re.search(r"GLOBAL (\S+)", str(error))
        reason = repr(asked_for[1]) if asked_for else type(error).__name__
        raise SourceError(
            f"{path} is not a plain dictionary of tensors and was not opened: its pickle requests "
            f"code to be run or contains other objects than tensors, or is damaged ({reason}). "
            "If you trust it, convert it to safetensors."
        ) from error


def locate(
    path: Path,
    name: str,
    tensor: "torch.Tensor",
    archive: Archive,
    start: int = 0,
) -> TensorRef:
    """Locates the bytes of a tensor.

    Raises:
        SourceError: The tensor's values are not plain bytes, or are not in the archive.
    """
    import torch

    _refuse_unresolved_bits(path, name, tensor)
    key = getattr(torch.Tensor.untyped_storage(tensor), _KEY, "")
    entry = archive.storages.get(key)
    if entry is None:
        raise SourceError(f"{path} has no values for '{name}'. {_SAVE_AGAIN}")
    size = torch.Tensor.untyped_storage(tensor).nbytes()
    # Nor larger: torch refuses a record whose size is not the one in its pickle.
    if size != entry.size:
        raise SourceError(
            f"{path} is truncated or damaged: '{name}' would need {size} bytes of its storage, "
            f"which has {entry.size}. Download it again."
        )
    dtype = from_torch(tensor.dtype)
    try:
        item_size = dtype_size(dtype)
    except KeyError:
        raise SourceError(
            f"{path} has '{name}' as {dtype}, which is not supported. Convert the tensor to "
            "another type with torch, and save the file again."
        ) from None
    # A pickle can set attributes of a tensor that hide its methods.
    shape, stride = tuple(tensor.shape), torch.Tensor.stride(tensor)
    first = int(torch.Tensor.storage_offset(tensor))
    steps = [(size - 1) * step for size, step in zip(shape, stride, strict=True)]
    # Without elements, too, it begins in its storage: torch refuses some offsets beyond.
    end = (first if 0 in shape else first + sum(steps) + 1) * item_size
    if end > entry.size:
        raise SourceError(
            f"{path} is truncated or damaged: '{name}' would need {end} bytes of its storage, "
            f"which has {entry.size}. Download it again."
        )
    return TensorRef(
        name=name,
        dtype=dtype,
        shape=shape,
        file=path,
        offset=start + entry.start + first * item_size,
        stride=None if torch.Tensor.is_contiguous(tensor) else stride,
    )


def _refuse_unresolved_bits(path: Path, name: str, tensor: "torch.Tensor") -> None:
    """Refuses tensors whose values torch computes from their bytes on access."""
    import torch

    bits = {
        "negates its values (its negative bit is set)": torch.Tensor.is_neg(tensor),
        "conjugates its values (its conjugate bit is set)": torch.Tensor.is_conj(tensor),
    }
    for what, is_set in bits.items():
        if is_set:
            raise SourceError(f"{path} has '{name}' as a view that {what}. {_SAVE_AGAIN}")


def _not_a_checkpoint(path: Path, reason: str) -> SourceError:
    return SourceError(
        f"{path} is truncated or not a PyTorch checkpoint ({reason}). Download it again."
    )
