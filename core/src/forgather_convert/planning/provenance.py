"""``forgather_conversion.json``: where a Forgather model came from, and the way back.

It holds what a conversion to Hugging Face needs to give back the same bytes: the text
of the original config and of the weights' headers, and the few tensors that the
Forgather model has no use for.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from forgather_convert.errors import SourceError
from forgather_convert.source.json_file import read_json_object
from forgather_convert.weights.checkpoint import SAFETENSORS, Checkpoint
from forgather_convert.weights.tensor_ref import TensorRef

PROVENANCE_FILE = "forgather_conversion.json"
_FORMAT_VERSION = 1


@dataclass(frozen=True)
class StoredTensor:
    """A tensor that is kept beside the weights.

    Attributes:
        dtype: Its element type, as ``"float32"``.
        shape: Its dimensions.
        data: Its bytes, in row-major order, as base64.
    """

    dtype: str
    shape: tuple[int, ...]
    data: str

    def to_bytes(self) -> bytes:
        return base64.b64decode(self.data)


@dataclass(frozen=True)
class OriginalWeights:
    """The division of the original weights among files.

    Attributes:
        headers: The text of every safetensors header, by file name.
        index_name: The index's name, where there was one.
        index_text: The index's content.
        recomputed: Tensors of the original that the model computes itself.
    """

    headers: Mapping[str, str]
    index_name: str | None
    index_text: str | None
    recomputed: Mapping[str, StoredTensor]


@dataclass(frozen=True)
class Provenance:
    """What is known of a Forgather model's origin.

    Attributes:
        tool: Names and versions of the software that converted it.
        options: The options of the conversion that were not the defaults.
        hf_config: The original ``config.json``, exactly.
        weights: The original's layout; ``None`` if it was not safetensors.
        generated: The hash (SHA-256) of every file that the code generator wrote.
        carried: The names of the files that were copied.
    """

    tool: Mapping[str, str]
    options: Mapping[str, Any]
    hf_config: str
    weights: OriginalWeights | None
    generated: Mapping[str, str]
    carried: tuple[str, ...]

    def to_json(self) -> str:
        content = {"format_version": _FORMAT_VERSION, **asdict(self)}
        return json.dumps(content, indent=2) + "\n"


def describe_weights(
    checkpoint: Checkpoint, recomputed: tuple[TensorRef, ...]
) -> OriginalWeights | None:
    """Notes the layout of a checkpoint, if it can be given back."""
    if checkpoint.files.format != SAFETENSORS:
        return None
    headers = {shard.path.name: shard.header.text for shard in checkpoint.shards if shard.header}
    return OriginalWeights(
        headers=headers,
        index_name=checkpoint.files.index.name if checkpoint.files.index else None,
        index_text=checkpoint.index_text,
        recomputed={ref.name: _store(ref) for ref in recomputed},
    )


def _store(ref: TensorRef) -> StoredTensor:
    with ref.file.open("rb") as file:
        file.seek(ref.offset)
        data = file.read(ref.num_bytes)
    return StoredTensor(ref.dtype, ref.shape, base64.b64encode(data).decode("ascii"))


def read_provenance(directory: Path) -> Provenance | None:
    """Reads a model's provenance; ``None`` if it has none.

    Raises:
        SourceError: The file is damaged or of a later version.
    """
    path = directory / PROVENANCE_FILE
    if not path.is_file():
        return None
    content = read_json_object(path)
    version = content.pop("format_version", None)
    if version != _FORMAT_VERSION:
        raise SourceError(
            f"{path} has the format version {version!r}; this version reads {_FORMAT_VERSION}. "
            "Upgrade forgather-convert, or delete the file to convert without the original layout."
        )
    try:
        weights = content.pop("weights")
        if weights is not None:
            recomputed = {
                name: StoredTensor(stored["dtype"], tuple(stored["shape"]), stored["data"])
                for name, stored in weights.pop("recomputed").items()
            }
            weights = OriginalWeights(**weights, recomputed=recomputed)
        content["carried"] = tuple(content["carried"])
        return Provenance(**content, weights=weights)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SourceError(
            f"{path} is damaged ({error!r}). Delete it to convert without the original layout."
        ) from error
