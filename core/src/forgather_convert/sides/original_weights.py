"""The division of a Hugging Face model's weights among files, as the provenance keeps it."""

import base64
import logging
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

import pydantic

from forgather_convert.errors import SourceError
from forgather_convert.source.json_file import parse_json_object
from forgather_convert.tensors.dtypes import tensor_bytes
from forgather_convert.weights.checkpoint import SAFETENSORS, SINGLE_FILE, Checkpoint
from forgather_convert.weights.safetensors_file import SafetensorsHeader, parse_header_text
from forgather_convert.weights.tensor_ref import TensorRef

logger = logging.getLogger(__name__)

#: How many bytes of tensors are kept, equal ones counted once.
MAX_STORED_BYTES = 16_384
_MAX_BASE64 = 4 * -(-MAX_STORED_BYTES // 3)
_SUFFIX = ".safetensors"

_Size = Annotated[int, pydantic.Field(ge=0, lt=2**63)]


def is_plain_name(name: str) -> bool:
    """Whether a name is that of a file in a directory, printable, and no path."""
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


class Schema(pydantic.BaseModel):
    """A part of the provenance: types are exact, and there are no other keys."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)


class RecomputedTensors(Schema):
    """Equal tensors of the original that the Forgather model computes itself.

    Attributes:
        names: What they are called.
        dtype: Their element type, as ``"float32"``.
        shape: Their dimensions.
        data: Their bytes, in row-major order, as base64; ``None`` if they were too many to keep.
    """

    names: Annotated[list[str], pydantic.Field(min_length=1)]
    dtype: str
    shape: Annotated[list[_Size], pydantic.Field(max_length=8)]
    data: Annotated[str, pydantic.Field(max_length=_MAX_BASE64)] | None

    @pydantic.model_validator(mode="after")
    def _has_its_size(self) -> "RecomputedTensors":
        try:
            expected = tensor_bytes(self.dtype, self.shape)
        except KeyError:
            raise ValueError(f"{self.dtype[:80]!r} is not a dtype") from None
        size = len(self.to_bytes())
        if self.data is not None and size != expected:
            raise ValueError(f"its data has {size} bytes, its dtype and shape make {expected}")
        return self

    def to_bytes(self) -> bytes:
        return b"" if self.data is None else base64.b64decode(self.data, validate=True)


class OriginalWeights(Schema):
    """The division of the original weights among files.

    Attributes:
        headers: The text of every safetensors header, by file name.
        index_name: The index's name, where there was one.
        index_text: The index's content.
        recomputed: Tensors of the original that the Forgather model computes itself.
    """

    headers: Annotated[dict[PlainName, str], pydantic.Field(min_length=1)]
    index_name: Literal["model.safetensors.index.json"] | None
    index_text: str | None
    recomputed: list[RecomputedTensors]

    @cached_property
    def parsed_headers(self) -> Mapping[str, SafetensorsHeader]:
        """What the headers say, by file name."""
        return {name: _parse_header(name, text) for name, text in self.headers.items()}

    @cached_property
    def recomputed_by_name(self) -> Mapping[str, RecomputedTensors]:
        return {name: tensors for tensors in self.recomputed for name in tensors.names}

    @pydantic.model_validator(mode="after")
    def _is_consistent(self) -> "OriginalWeights":
        refs: dict[str, tuple[str, TensorRef]] = {}
        for file_name, header in self.parsed_headers.items():
            for ref in header.tensors:
                if ref.name in refs:
                    raise ValueError(f"{ref.name[:80]!r} is in two of the headers")
                refs[ref.name] = (file_name, ref)
        if (self.index_name is None) != (self.index_text is None):
            raise ValueError("there is a name of an index without its text, or the reverse")
        files = {SINGLE_FILE[SAFETENSORS]}
        if self.index_text is not None:
            files = _check_index(self.index_text, {name: file for name, (file, _) in refs.items()})
        if files != set(self.headers) or not all(name.endswith(_SUFFIX) for name in files):
            raise ValueError("the headers are not those of the weights files")
        self._check_recomputed({name: ref for name, (_, ref) in refs.items()})
        return self

    def _check_recomputed(self, refs: Mapping[str, TensorRef]) -> None:
        if sum(len(tensors.to_bytes()) for tensors in self.recomputed) > MAX_STORED_BYTES:
            raise ValueError(f"'recomputed' has more than {MAX_STORED_BYTES} bytes of tensors")
        if len(self.recomputed_by_name) != sum(len(tensors.names) for tensors in self.recomputed):
            raise ValueError("'recomputed' has a tensor twice")
        for name, tensors in self.recomputed_by_name.items():
            ref = refs.get(name)
            if ref is None or (ref.dtype, list(ref.shape)) != (tensors.dtype, tensors.shape):
                raise ValueError(f"{name[:80]!r} in 'recomputed' is not what the headers say")


def _parse_header(name: str, text: str) -> SafetensorsHeader:
    try:
        return parse_header_text(text, name)
    except SourceError as error:
        raise ValueError(f"the header of {name!r} is not one of safetensors") from error


def _check_index(text: str, places: Mapping[str, str]) -> set[str]:
    """Checks an index against what the headers hold; gives the files that it names."""
    weight_map = json_object(text).get("weight_map")
    if not isinstance(weight_map, dict):
        raise ValueError("'index_text' is not an index of weights")
    if any(places.get(name) != file for name, file in weight_map.items()):
        raise ValueError("'index_text' does not say what the headers hold")
    return set(weight_map.values())


def describe_weights(
    checkpoint: Checkpoint, recomputed: Iterable[TensorRef]
) -> OriginalWeights | None:
    """Notes the layout of a checkpoint, if it can be given back."""
    if checkpoint.files.format != SAFETENSORS:
        return None
    headers = {shard.path.name: shard.header.text for shard in checkpoint.shards if shard.header}
    has_index = checkpoint.index_text is not None
    try:
        return OriginalWeights(
            headers=headers,
            index_name="model.safetensors.index.json" if has_index else None,
            index_text=checkpoint.index_text,
            recomputed=list(_describe_recomputed(tuple(recomputed))),
        )
    except pydantic.ValidationError as error:
        logger.info(
            "The way back will divide the weights in its own way; the source's division cannot "
            "be kept: %s",
            error.errors(include_url=False)[0]["msg"].removeprefix("Value error, "),
        )
        return None


def _describe_recomputed(refs: tuple[TensorRef, ...]) -> Iterator[RecomputedTensors]:
    contents = _contents(refs)
    if contents is None:
        logger.info(
            "%d tensors that the model computes itself (%s, ...) are too large to keep: the way "
            "back is without them",
            len(refs),
            refs[0].name,
        )
        contents = dict.fromkeys(ref.name for ref in refs)
    groups: dict[tuple[str, tuple[int, ...], bytes | None], list[str]] = {}
    for ref in refs:
        groups.setdefault((ref.dtype, ref.shape, contents[ref.name]), []).append(ref.name)
    for (dtype, shape, data), names in groups.items():
        text = None if data is None else base64.b64encode(data).decode("ascii")
        yield RecomputedTensors(names=names, dtype=dtype, shape=list(shape), data=text)


def _contents(refs: tuple[TensorRef, ...]) -> dict[str, bytes | None] | None:
    """The bytes of small tensors by their names; ``None`` if the different ones are too many."""
    contents: dict[str, bytes | None] = {}
    different: set[tuple[str, tuple[int, ...], bytes]] = set()
    for ref in refs:
        if ref.num_bytes > MAX_STORED_BYTES:
            return None
        with ref.file.open("rb") as file:
            file.seek(ref.offset)
            data = file.read(ref.num_bytes)
        different.add((ref.dtype, ref.shape, data))
        if sum(len(content) for _, _, content in different) > MAX_STORED_BYTES:
            return None
        contents[ref.name] = data
    return contents
