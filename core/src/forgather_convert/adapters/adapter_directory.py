"""Reads the files of an adapter, as PEFT writes them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgather_convert.errors import SourceError, UnsupportedModelError
from forgather_convert.files.file_state import FileState, states_of
from forgather_convert.files.json_file import parse_json_object, read_text
from forgather_convert.files.plain_text import is_plain, one_line
from forgather_convert.source.directory_check import check_entries
from forgather_convert.source.readable_weights import (
    ADAPTER_CONFIG_FILE,
    ADAPTER_PYTORCH_FILE,
    ADAPTER_SAFETENSORS_FILE,
)
from forgather_convert.tensors.dtypes import WEIGHT_DTYPES
from forgather_convert.tensors.tensor_ref import TensorRef
from forgather_convert.weights.formats import has_weights
from forgather_convert.weights.pytorch_file import read_tensor_refs
from forgather_convert.weights.safetensors_file import SafetensorsHeader, read_header

_WEIGHTS_FILES = (ADAPTER_SAFETENSORS_FILE, ADAPTER_PYTORCH_FILE)


@dataclass(frozen=True)
class AdapterDirectory:
    """An adapter whose tensors are still in their file.

    Attributes:
        path: The directory.
        config_text: The exact ``adapter_config.json``.
        weights_file: The file with the tensors.
        weights_states: Its state before it was read.
        tensors: All tensors by name.
        header: The safetensors header; ``None`` for a ``.bin`` file.
    """

    path: Path
    config_text: str
    weights_file: Path
    weights_states: Mapping[Path, FileState]
    tensors: Mapping[str, TensorRef]
    header: SafetensorsHeader | None

    @property
    def config_path(self) -> Path:
        return self.path / ADAPTER_CONFIG_FILE

    @property
    def config(self) -> dict[str, Any]:
        """The fields of ``adapter_config.json``."""
        return parse_json_object(self.config_text, str(self.config_path))


def read_adapter(directory: Path) -> AdapterDirectory:
    """Reads an adapter's config and the headers of its tensors.

    Raises:
        SourceError: It is not an adapter, is damaged, or contains more than an adapter.
        UnsupportedModelError: Its tensors are quantized.
    """
    if not directory.is_dir():
        what = "is not a directory" if directory.exists() else "does not exist"
        raise SourceError(f"The source {directory} {what}. Give the directory of an adapter.")
    check_entries(directory)
    if not (directory / ADAPTER_CONFIG_FILE).is_file():
        raise SourceError(
            f"{directory} contains no adapter (it has no {ADAPTER_CONFIG_FILE}), but --base is "
            "only for adapters. Leave it out to convert a model, or give the directory that "
            "PEFT's save_pretrained() wrote."
        )
    if has_weights(directory):
        raise SourceError(
            f"{directory} contains a model's weights beside the adapter. Move the adapter's files "
            f"({ADAPTER_CONFIG_FILE} and adapter_model.*) to a directory of their own."
        )
    config_text = read_text(directory / ADAPTER_CONFIG_FILE)
    path, header = directory / ADAPTER_SAFETENSORS_FILE, None
    states = states_of(directory / name for name in _WEIGHTS_FILES)
    if path.is_file():
        header = read_header(path)
        refs = header.tensors
    else:
        path = directory / ADAPTER_PYTORCH_FILE
        if not path.is_file():
            raise SourceError(
                f"{directory} has neither {ADAPTER_SAFETENSORS_FILE} nor {ADAPTER_PYTORCH_FILE}: "
                "the adapter's tensors are missing. Save the adapter again."
            )
        refs = read_tensor_refs(path)
    for ref in refs:
        if not is_plain(ref.name):
            raise SourceError(
                f"{path} has a tensor whose name has control characters: '{one_line(ref.name)}'. "
                "Save it under another name."
            )
        if ref.dtype not in WEIGHT_DTYPES:
            raise UnsupportedModelError(
                f"'{ref.name}' in {path} is stored as {ref.dtype}, which is not a supported type. "
                f"It must be one of {', '.join(WEIGHT_DTYPES)}."
            )
    if not refs:
        raise SourceError(f"{path} has no tensors. Save the adapter again.")
    return AdapterDirectory(
        path=directory,
        config_text=config_text,
        weights_file=path,
        weights_states={path: states[path]},
        tensors={ref.name: ref for ref in refs},
        header=header,
    )
