"""What an inspection finds, as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgather_convert.source.readable_weights import CheckpointKind
from forgather_convert.source.rope import RopeParameters
from forgather_convert.tensors.tensor_ref import TensorRef


@dataclass(frozen=True)
class ComponentSize:
    """The parameters of one kind of component.

    Attributes:
        name: ``"embedding"``, ``"attention"``, ``"feed-forward"``, ``"norms"``, ``"head"`` or
            ``"other"``.
        parameters: The number of elements.
        num_bytes: Their size in the files, in bytes.
    """

    name: str
    parameters: int
    num_bytes: int


@dataclass(frozen=True)
class Window:
    """How far attention looks back.

    Attributes:
        length: The number of positions.
        layers: In how many layers; ``None`` if the config does not list them.
    """

    length: int
    layers: int | None


@dataclass(frozen=True)
class Vocabulary:
    """The numbers of tokens that should agree, and need not.

    Attributes:
        config: The field ``vocab_size``.
        rows: The rows of the embedding.
        tokens: The tokens of the tokenizer; ``None`` if its files do not list them.
        highest_id: The highest id of them.
    """

    config: int | None
    rows: int | None
    tokens: int | None
    highest_id: int | None


@dataclass(frozen=True)
class File:
    """A file of the directory itself, with its size in bytes."""

    name: str
    num_bytes: int
    is_weights: bool


@dataclass(frozen=True)
class CheckpointContents:
    """A ``checkpoint-N``.

    Attributes:
        path: Where it is.
        step: The number in its name.
        contents: What it holds; empty if nothing that is known.
        num_bytes: The size of the files in it.
        is_converted: Whether its weights are what a conversion takes.
    """

    path: Path
    step: int
    contents: tuple[CheckpointKind, ...]
    num_bytes: int
    is_converted: bool


@dataclass(frozen=True)
class Origin:
    """Where a Forgather model came from.

    Attributes:
        tool: Names and versions of the software that converted it.
        options: The options of that conversion that were not the defaults.
        keeps_layout: Whether the way back can give the same files.
        edited: The files of its code that are not as they were generated.
    """

    tool: Mapping[str, str]
    options: Mapping[str, Any]
    keeps_layout: bool
    edited: tuple[str, ...]


@dataclass(frozen=True)
class UsedConverter:
    """The converter that a conversion would use.

    Attributes:
        origin: Where it comes from: a distribution with its version, or a file.
        name: Its class.
    """

    origin: str
    name: str


@dataclass(frozen=True)
class Inspection:
    """What a directory holds. What could not be found out is ``None`` or empty.

    Attributes:
        path: The directory, as it was given.
        is_forgather: Whether it is a Forgather model; else it is a Hugging Face one.
        model_type: Its family.
        architectures: The classes that its config names.
        dtype: The data type that its config states.
        quantization: How its config describes quantized weights: the method.
        dimensions: The fields of its config that say how large it is.
        rope: The rotary embedding, with what its config leaves out as transformers would derive it.
        window: How far attention looks back, if that is limited.
        is_tied: Whether its config ties head and embedding.
        vocabulary: The numbers of tokens.
        weights: The directory of its weights.
        tensors: Every tensor in it, by the names of its files.
        components: The parameters by component.
        files: The files beside each other in the directory; sub-directories are not looked into.
        checkpoints: The ``checkpoint-N``, the highest number first.
        carried: The tensors of the original that the model itself does not use, in files of their
            own.
        links_out: The files that a conversion does not copy unless it is asked to, since they are
            links to somewhere else, and where they are.
        origin: Where it was converted from.
        converter: What would convert it.
        problems: What would stop the conversion, as far as names, configs and headers tell.
        remarks: What may do so.
    """

    path: Path
    is_forgather: bool | None
    model_type: str | None
    architectures: tuple[str, ...]
    dtype: str | None
    quantization: str | None
    dimensions: Mapping[str, int]
    rope: RopeParameters | None
    window: Window | None
    is_tied: bool | None
    vocabulary: Vocabulary
    weights: Path | None
    tensors: tuple[TensorRef, ...]
    components: tuple[ComponentSize, ...]
    files: tuple[File, ...]
    checkpoints: tuple[CheckpointContents, ...]
    carried: tuple[TensorRef, ...]
    links_out: Mapping[str, Path]
    origin: Origin | None
    converter: UsedConverter | None
    problems: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def parameters(self) -> int:
        """The number of stored elements."""
        return sum(component.parameters for component in self.components)

    @property
    def num_bytes(self) -> int:
        """Their size in the files, in bytes."""
        return sum(component.num_bytes for component in self.components)

    @property
    def stored_dtypes(self) -> Mapping[str, int]:
        """The data types of the tensors in the files, with the number of bytes of each."""
        sizes: dict[str, int] = {}
        for ref in self.tensors:
            sizes[ref.dtype] = sizes.get(ref.dtype, 0) + ref.num_bytes
        return sizes
