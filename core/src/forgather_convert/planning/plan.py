"""The plan of a conversion, as a value."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from forgather_convert.errors import SourceError
from forgather_convert.files.file_state import FileState
from forgather_convert.planning.config_fields import ConfigField
from forgather_convert.source.config_file import CONFIG_FILE
from forgather_convert.source.detection import Direction
from forgather_convert.source.files import CopyFile, WriteFile, check_file_name
from forgather_convert.tensors.dtypes import tensor_bytes
from forgather_convert.tensors.expressions import Expression, leaves
from forgather_convert.tensors.tensor_ref import TensorRef
from forgather_convert.vocabulary.change import VocabularyChange


@dataclass(frozen=True)
class TensorPlan:
    """A tensor of the destination and its value.

    Attributes:
        name: Its name in the destination.
        expression: Its value.
    """

    name: str
    expression: Expression

    @property
    def dtype(self) -> str:
        """Its element type in the destination."""
        return self.expression.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Its dimensions in the destination."""
        return self.expression.shape

    @property
    def num_bytes(self) -> int:
        """Its size in the destination, in bytes."""
        return tensor_bytes(self.dtype, self.shape)

    @property
    def sources(self) -> tuple[TensorRef, ...]:
        """The source tensors that it is made of."""
        return leaves(self.expression)

    def renamed(self, name: str) -> "TensorPlan":
        return replace(self, name=name)


@dataclass(frozen=True)
class ShardPlan:
    """A weights file of the destination.

    Attributes:
        file_name: Its name.
        tensors: Its tensors, in the order of their bytes.
        header: The bytes before them in a safetensors file; ``None`` for ``.bin``.
        shared: The second names of tensors in a ``.bin`` file, each with the first name; the bytes
            are stored once.
    """

    file_name: str
    tensors: tuple[TensorPlan, ...]
    header: bytes | None
    shared: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_file_name(self.file_name)

    @property
    def num_bytes(self) -> int:
        return len(self.header or b"") + sum(tensor.num_bytes for tensor in self.tensors)


@dataclass(frozen=True)
class LinkPlan:
    """A link to a weights file of the source.

    Attributes:
        name: The name of the link.
        source: The file.
        is_symbolic: Whether it is a symbolic link, which may lead to another file system.
    """

    name: str
    source: Path
    is_symbolic: bool

    def __post_init__(self) -> None:
        check_file_name(self.name)


@dataclass(frozen=True)
class ConversionPlan:
    """Everything that a conversion writes.

    Attributes:
        source: The source directory.
        destination: The directory to create.
        direction: The direction of the conversion.
        model_type: The family.
        dtype: The data type in the destination's config.
        shards: The weights files.
        writes: The files with generated content.
        copies: The files that are copied.
        left_out: Names in the source directory that are not copied.
        checkpoint: The directory of the weights that are converted.
        converter: The converter's class and origin.
        vocabulary: The changes of the vocabulary; ``None`` if there are none.
        config_fields: The fields of the source's and the result's config; empty for an adapter.
        weights_states: The states of the source's weights files before they were read.
        links: Links to the source's weights files, instead of weights files of its own.
    """

    source: Path
    destination: Path
    direction: Direction
    model_type: str
    dtype: str
    shards: tuple[ShardPlan, ...]
    writes: tuple[WriteFile, ...]
    copies: tuple[CopyFile, ...]
    left_out: tuple[str, ...]
    checkpoint: Path
    converter: str
    vocabulary: VocabularyChange | None = None
    config_fields: tuple[ConfigField, ...] = ()
    weights_states: Mapping[Path, FileState] = field(default_factory=dict)
    links: tuple[LinkPlan, ...] = ()

    def __post_init__(self) -> None:
        twice = [name for name, count in Counter(self.file_names).items() if count > 1]
        if twice:
            raise SourceError(
                f"The conversion of {self.source} would write {' and '.join(twice)} twice. Rename "
                "the source's file of that name."
            )

    @property
    def file_names(self) -> tuple[str, ...]:
        """The names of all files that will be written."""
        return (
            *(shard.file_name for shard in self.shards),
            *(write.name for write in self.writes),
            *(copy.name for copy in self.copies),
            *(link.name for link in self.links),
        )

    @property
    def source_states(self) -> Mapping[Path, FileState]:
        """The states of all files that are read while the plan is executed."""
        return {**self.weights_states, **{copy.source: copy.state for copy in self.copies}}

    @property
    def config_text(self) -> str:
        """The content of the result's ``config.json``."""
        (content,) = (write.content for write in self.writes if write.name == CONFIG_FILE)
        return content.decode("utf-8")

    @property
    def tensors(self) -> tuple[TensorPlan, ...]:
        return tuple(tensor for shard in self.shards for tensor in shard.tensors)

    @property
    def num_bytes(self) -> int:
        """The size of everything that will be written, in bytes."""
        return (
            sum(shard.num_bytes for shard in self.shards)
            + sum(len(write.content) for write in self.writes)
            + sum(copy.state.size for copy in self.copies)
        )
