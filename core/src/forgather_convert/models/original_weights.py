"""The original division of a Hugging Face model's weights into files, as kept in the provenance."""

import base64
import hashlib
import logging
import lzma
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

import pydantic

from forgather_convert.errors import SourceError
from forgather_convert.files.file_errors import with_filename
from forgather_convert.files.json_file import parse_json_object, read_text
from forgather_convert.tensors.dtypes import dtype_size, tensor_bytes
from forgather_convert.tensors.expressions import Constant, Expression, leaves
from forgather_convert.tensors.names import RECOMPUTED
from forgather_convert.tensors.tensor_ref import TensorRef
from forgather_convert.weights.checkpoint import Checkpoint
from forgather_convert.weights.file_names import SAFETENSORS, SINGLE_FILE
from forgather_convert.weights.safetensors_file import SafetensorsHeader, parse_header_text

logger = logging.getLogger(__name__)

#: The maximum number of bytes of compressed tensors that are kept; equal tensors count once.
MAX_STORED_BYTES = 16_384
#: The maximum unpacked size, in bytes: a causal mask for 4096 positions in float32.
MAX_UNPACKED_BYTES = 64 << 20
#: How much of a tensor is compressed first, in bytes. If that is too large already, so is the rest,
#: and to find out would take minutes for the weights of a layer.
_PROBED_BYTES = 4 * MAX_STORED_BYTES
#: Takes 15 MB of memory instead of 94 by default, and a tenth of the time.
_PRESET = 2
#: The maximum memory for unpacking, in bytes; xz takes 3 MB for this preset.
_UNPACKING_MEMORY = 32 << 20
_MAX_BASE64 = 4 * -(-MAX_STORED_BYTES // 3)
_SUFFIX = ".safetensors"

_Size = Annotated[int, pydantic.Field(ge=0, lt=2**63)]


def is_plain_name(name: str) -> bool:
    """Whether a name is a printable file name, and not a path."""
    return (
        name.isprintable() and 0 < len(name) <= 255 and name not in (".", "..") and "/" not in name
    )


def _plain_name(name: str) -> str:
    if not is_plain_name(name):
        raise ValueError(f"{name[:80]!r} is not the plain name of a file")
    return name


PlainName = Annotated[str, pydantic.AfterValidator(_plain_name)]


def json_object(text: str) -> dict[str, Any]:
    """Reads the text of a JSON object.

    Raises:
        ValueError: It is not one.
    """
    try:
        return parse_json_object(text, "it")
    except SourceError as error:
        raise ValueError(str(error).partition(". ")[0]) from error


def _json_text(text: str) -> str:
    json_object(text)
    return text


#: The exact text of a JSON object.
JsonText = Annotated[str, pydantic.AfterValidator(_json_text)]


def _header(value: Any) -> SafetensorsHeader:
    if isinstance(value, SafetensorsHeader):
        return value
    if not isinstance(value, str):
        raise ValueError("it is not the text of a safetensors header")
    try:
        return parse_header_text(value, "the header")
    except SourceError as error:
        raise ValueError("it is not a safetensors header") from error


#: A header, which is written as its exact text.
Header = Annotated[
    SafetensorsHeader,
    pydantic.PlainValidator(_header),
    pydantic.PlainSerializer(lambda header: header.text, return_type=str),
]


class Schema(pydantic.BaseModel):
    """A part of the provenance, with exact types and no other keys."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)


def _tensor_dtype(name: str) -> str:
    try:
        dtype_size(name)
    except KeyError:
        raise ValueError(f"{name[:80]!r} is not a dtype") from None
    return name


def _base64_text(text: str) -> str:
    base64.b64decode(text, validate=True)
    return text


class IgnoredTensors(Schema):
    """Equal tensors of the original that its model does not use: tables, causal masks.

    Attributes:
        names: Their names.
        dtype: Their element type, such as ``"float32"``.
        shape: Their dimensions.
        data: Their bytes in row-major order, compressed as in a ``.xz`` file, as base64; ``None``
            if they are kept in a separate file instead.
    """

    names: Annotated[list[str], pydantic.Field(min_length=1)]
    dtype: Annotated[str, pydantic.AfterValidator(_tensor_dtype)]
    shape: Annotated[list[_Size], pydantic.Field(max_length=8)]
    data: (
        Annotated[
            str, pydantic.Field(max_length=_MAX_BASE64), pydantic.AfterValidator(_base64_text)
        ]
        | None
    )

    @property
    def num_bytes(self) -> int:
        """The size of each, in bytes."""
        return tensor_bytes(self.dtype, self.shape)

    @property
    def expression(self) -> Constant:
        """The value of each, if it is kept here."""
        return Constant(self.dtype, tuple(self.shape), self.content)

    @property
    def packed(self) -> bytes:
        """The compressed bytes of each."""
        return b"" if self.data is None else base64.b64decode(self.data, validate=True)

    @cached_property
    def content(self) -> bytes:
        """The bytes of each; empty if the compressed bytes are damaged or too large."""
        unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_UNPACKING_MEMORY)
        try:
            content = unpacker.decompress(self.packed, self.num_bytes + 1)
        except lzma.LZMAError:
            return b""
        return content if unpacker.eof else b""


class OriginalWeights(Schema):
    """The division of the original weights into files.

    Attributes:
        headers: Every safetensors header, by file name.
        index_name: The name of the index, if there was one.
        index_text: The content of the index.
        unread: Tensors of the original that its model does not use.
    """

    headers: Annotated[dict[PlainName, Header], pydantic.Field(min_length=1)]
    index_name: Literal["model.safetensors.index.json"] | None
    index_text: str | None
    unread: list[IgnoredTensors]

    @cached_property
    def unread_by_name(self) -> Mapping[str, IgnoredTensors]:
        return {name: tensors for tensors in self.unread for name in tensors.names}

    @pydantic.model_validator(mode="after")
    def _is_consistent(self) -> "OriginalWeights":
        refs: dict[str, tuple[str, TensorRef]] = {}
        for file_name, header in self.headers.items():
            for ref in header.tensors:
                if ref.name in refs:
                    raise ValueError(f"{ref.name[:80]!r} is in two of the headers")
                refs[ref.name] = (file_name, ref)
        if (self.index_name is None) != (self.index_text is None):
            raise ValueError("the name of an index lacks its text, or vice versa")
        files = {SINGLE_FILE[SAFETENSORS]}
        if self.index_text is not None:
            files = _check_index(self.index_text, {name: file for name, (file, _) in refs.items()})
        if files != set(self.headers) or not all(name.endswith(_SUFFIX) for name in files):
            raise ValueError("the headers are not those of the weights files")
        self._check_unread({name: ref for name, (_, ref) in refs.items()})
        return self

    def _check_unread(self, refs: Mapping[str, TensorRef]) -> None:
        if sum(len(tensors.packed) for tensors in self.unread) > MAX_STORED_BYTES:
            raise ValueError(f"'unread' has more than {MAX_STORED_BYTES} bytes of tensors")
        kept = [tensors for tensors in self.unread if tensors.data is not None]
        if sum(tensors.num_bytes for tensors in kept) > MAX_UNPACKED_BYTES:
            raise ValueError(f"'unread' has more than {MAX_UNPACKED_BYTES} unpacked bytes")
        for tensors in kept:
            if len(tensors.content) != tensors.num_bytes:
                raise ValueError(
                    f"{tensors.names[0][:80]!r} in 'unread' does not have {tensors.num_bytes} bytes"
                )
        if len(self.unread_by_name) != sum(len(tensors.names) for tensors in self.unread):
            raise ValueError("'unread' has a tensor twice")
        for name, tensors in self.unread_by_name.items():
            ref = refs.get(name)
            if ref is None or (ref.dtype, list(ref.shape)) != (tensors.dtype, tensors.shape):
                raise ValueError(f"{name[:80]!r} in 'unread' does not match the headers")


def _check_index(text: str, places: Mapping[str, str]) -> set[str]:
    """Checks an index against the headers; returns the files that it names."""
    weight_map = json_object(text).get("weight_map")
    if not isinstance(weight_map, dict):
        raise ValueError("'index_text' is not an index of weights")
    if any(places.get(name) != file for name, file in weight_map.items()):
        raise ValueError("'index_text' does not match the headers")
    return set(weight_map.values())


def describe_weights(
    checkpoint: Checkpoint, unread: Mapping[str, Expression]
) -> OriginalWeights | None:
    """Records the division of a checkpoint, if it can be restored.

    Args:
        checkpoint: The original weights.
        unread: What its model does not use.
    """
    return _described(checkpoint, tuple(ref for value in unread.values() for ref in leaves(value)))


def without_kept(
    unread: Mapping[str, Expression], weights: OriginalWeights | None
) -> dict[str, Expression]:
    """The tensors that a model does not use and the provenance does not keep.

    Tables that follow from the config need not come back where the files do not.

    Args:
        unread: What the model does not use.
        weights: How the provenance describes the weights; ``None`` if it does not.
    """
    if weights is None:
        return {name: value for name, value in unread.items() if not re.search(RECOMPUTED, name)}
    kept = {name for name, tensors in weights.unread_by_name.items() if tensors.data}
    return {name: value for name, value in unread.items() if name not in kept}


def _described(checkpoint: Checkpoint, unread: tuple[TensorRef, ...]) -> OriginalWeights | None:
    if checkpoint.files.format != SAFETENSORS:
        return None
    headers = {shard.path.name: shard.header for shard in checkpoint.shards if shard.header}
    index = checkpoint.files.index
    try:
        return OriginalWeights(
            headers=headers,
            index_name=None if index is None else "model.safetensors.index.json",
            index_text=None if index is None else read_text(index),
            unread=list(_describe_unread(unread)),
        )
    except pydantic.ValidationError as error:
        logger.info(
            "The reverse conversion will divide the weights differently; the source's division "
            "cannot be recorded: %s",
            error.errors(include_url=False)[0]["msg"].removeprefix("Value error, "),
        )
        return None


def _describe_unread(refs: tuple[TensorRef, ...]) -> Iterator[IgnoredTensors]:
    kept = _packed(refs)
    groups: dict[tuple[str, tuple[int, ...], bytes | None], list[str]] = {}
    for ref in refs:
        groups.setdefault((ref.dtype, ref.shape, kept.get(ref.name)), []).append(ref.name)
    for (dtype, shape, data), names in groups.items():
        text = None if data is None else base64.b64encode(data).decode("ascii")
        yield IgnoredTensors(names=names, dtype=dtype, shape=list(shape), data=text)


def _packed(refs: tuple[TensorRef, ...]) -> dict[str, bytes]:
    """The compressed bytes of tensors by their names, as many as fit."""
    kept: dict[str, bytes] = {}
    packed: dict[bytes, bytes] = {}
    unpacked_size = packed_size = 0
    for ref in sorted(refs, key=lambda ref: ref.num_bytes):
        # Equal tensors are packed once, and nothing is read that could not be kept.
        if ref.num_bytes > MAX_UNPACKED_BYTES:
            continue
        with with_filename(ref.file), ref.file.open("rb") as file:
            file.seek(ref.offset)
            content = file.read(min(ref.num_bytes, _PROBED_BYTES))
            if len(lzma.compress(content, lzma.FORMAT_XZ, preset=_PRESET)) > MAX_STORED_BYTES:
                continue
            content += file.read(ref.num_bytes - len(content))
        key = hashlib.sha256(repr((ref.dtype, ref.shape)).encode() + content).digest()
        if key not in packed:
            data = lzma.compress(content, lzma.FORMAT_XZ, preset=_PRESET)
            if (
                packed_size + len(data) > MAX_STORED_BYTES
                or unpacked_size + len(content) > MAX_UNPACKED_BYTES
            ):
                continue
            packed[key] = data
            packed_size += len(data)
            unpacked_size += len(content)
        kept[ref.name] = packed[key]
    return kept
