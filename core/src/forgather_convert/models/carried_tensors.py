"""Tensors in a Hugging Face checkpoint that the model itself does not use, such as extra layers.

DeepSeek-V3 has layers for multi-token prediction that transformers does not read. A Forgather
model keeps them, byte for byte, in separate files beside the weights. These are safetensors files
with another suffix, so that programs that load all ``.safetensors`` files ignore them.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from forgather_convert.errors import SourceError
from forgather_convert.files.file_state import FileState
from forgather_convert.tensors.expressions import Expression, stored
from forgather_convert.weights.safetensors_file import read_header

_FILE = re.compile(r"forgather_carried(?:-\d{5}-of-\d{5})?\.tensors", re.ASCII)


_REMEDY = (
    "Copy the file from the directory that the model was converted to, or use --drop-unused to "
    "convert without these tensors."
)


@dataclass(frozen=True)
class CarriedTensors:
    """Tensors that are copied, although the model does not use them.

    Attributes:
        tensors: The tensors, by their Hugging Face names.
        states: The states of their files before they were read.
    """

    tensors: Mapping[str, Expression] = field(default_factory=dict)
    states: Mapping[Path, FileState] = field(default_factory=dict)


def carried_file_name(number: int, count: int) -> str:
    """The name of one of the files, counted from 1."""
    return f"forgather_carried{'' if count == 1 else f'-{number:05d}-of-{count:05d}'}.tensors"


#: What the names of files that only a composite has begin with in a Forgather model.
CARRIED_FILE_PREFIX = "forgather_carried."
#: The original of a file whose own form in a Forgather model does not name a processor.
CARRIED_TOKENIZER_CONFIG = f"{CARRIED_FILE_PREFIX}tokenizer_config.json"
#: Files that loaders of images, video or audio look for, and that no text model has.
PROCESSOR_FILES = (
    "chat_template.json",
    "image_processor_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
)


def is_carried_file(name: str) -> bool:
    """Whether a file of a Forgather model contains such tensors, judging by its name."""
    return _FILE.fullmatch(name) is not None


def carried_files(directory: Path) -> list[str]:
    """The names of the files in a directory that have the name of such a file."""
    return sorted(path.name for path in directory.iterdir() if _FILE.fullmatch(path.name))


def read_carried(directory: Path, expected: Iterable[str], remedy: str = _REMEDY) -> CarriedTensors:
    """Reads the headers of a Forgather model's files with such tensors.

    Args:
        directory: The model's directory.
        expected: The files that must exist according to the provenance.
        remedy: What to do if one is missing.

    Raises:
        SourceError: A file is missing or damaged, or a tensor is in two of them.
    """
    names = carried_files(directory)
    missing = {*expected} - {*names}
    if missing:
        raise SourceError(
            f"{directory} lacks {', '.join(sorted(missing))}, which contains tensors of the "
            f"original that the model itself does not use. {remedy}"
        )
    tensors: dict[str, Expression] = {}
    states = {}
    for path in (directory / name for name in names):
        states[path] = FileState.of(path)
        for ref in read_header(path).tensors:
            if ref.name in tensors:
                raise SourceError(
                    f"{path} has the tensor {ref.name[:80]!r}, which another such file also has. "
                    "Remove the files that do not belong to this model."
                )
            tensors[ref.name] = stored(ref)
    return CarriedTensors(tensors, states)
