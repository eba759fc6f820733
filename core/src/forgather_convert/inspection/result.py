"""The results of an inspection, as values."""

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
    """The window of attention.

    Attributes:
        length: The number of positions.
        layers: The number of layers with a window; ``None`` if the config does not list them.
    """

    length: int
    layers: int | None


@dataclass(frozen=True)
class Vocabulary:
    """The numbers of tokens, which should agree but need not.

    Attributes:
        config: The field ``vocab_size``.
        rows: The rows of the embedding.
        tokens: The number of the tokenizer's tokens; ``None`` if its files do not list them.
        highest_id: The highest id among them.
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
        path: Its path.
        step: The number in its name.
        contents: Its content; empty if none of it is known.
        num_bytes: The size of the files in it.
        is_converted: Whether a conversion would take its weights.
    """

    path: Path
    step: int
    contents: tuple[CheckpointKind, ...]
    num_bytes: int
    is_converted: bool


@dataclass(frozen=True)
class ProvenanceSummary:
    """The provenance of a Forgather model.

    Attributes:
        tool: Names and versions of the software that converted it.
        options: The options of that conversion that differed from the defaults.
        keeps_layout: Whether the reverse conversion can restore the original files.
        edited: The files of its code that were changed or removed since they were generated.
    """

    tool: Mapping[str, str]
    options: Mapping[str, Any]
    keeps_layout: bool
    edited: tuple[str, ...]


@dataclass(frozen=True)
class UsedConverter:
    """The converter that a conversion would use.

    Attributes:
        origin: Its origin: a distribution and its version, or a file.
        name: Its class.
    """

    origin: str
    name: str


@dataclass(frozen=True)
class Inspection:
    """The content of a directory. Unknown values are ``None`` or empty.

    Attributes:
        path: The directory, as it was given.
        is_forgather: Whether it is a Forgather model, and not a Hugging Face one.
        model_type: Its family.
        architectures: The model classes that its config states.
        dtype: The data type that its config states.
        quantization: The quantization method that its config states.
        dimensions: The fields of its config that define its size.
        rope: The rotary embedding, including parameters that transformers would derive.
        window: The window of attention, if there is one.
        is_tied: Whether its config ties head and embedding.
        vocabulary: The numbers of tokens.
        weights: The directory of its weights.
        tensors: All tensors, by their names in the files.
        components: The parameters by component.
        files: The files in the directory, without subdirectories.
        checkpoints: The ``checkpoint-N``, the highest number first.
        carried: The original's tensors that the model does not use, in files of their own; or
            those of a composite that are not its text model's.
        is_composite: Whether the model is a composite, or the text model of one. All else is about
            the text model.
        links_out: The links that lead out of the directory, which a conversion does not copy by
            default, and their targets.
        origin: Its provenance, if it was converted.
        converter: The converter that would be used.
        problems: What would prevent a conversion, judging by names, configs and headers.
        remarks: What might prevent it.
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
    is_composite: bool
    links_out: Mapping[str, Path]
    origin: ProvenanceSummary | None
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
