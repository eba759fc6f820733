"""Keeps loaders from taking a composite's Forgather model for a model of images.

A composite's ``tokenizer_config.json`` names the class of its processor. With it,
``AutoProcessor``, and with that several training libraries, would expect the processor's files
beside a text model. So a Forgather model has the file without that name; the original is carried
along, and comes back unless the tokenizer has changed since.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from forgather_convert.files.file_state import FileState
from forgather_convert.files.json_file import parse_json_object, read_json_object, read_text
from forgather_convert.models.carried_tensors import CARRIED_TOKENIZER_CONFIG
from forgather_convert.planning.side_files import SideFiles
from forgather_convert.source.files import CopyFile, WriteFile, encode_json
from forgather_convert.source.tokenizer_directory import TOKENIZER_CONFIG_FILE

_CLASS = "processor_class"


def without_processor_class(files: SideFiles, directory: Path) -> SideFiles:
    """The files of a Forgather model, from those of a composite."""
    path, text = directory / TOKENIZER_CONFIG_FILE, _text(files)
    if text is None or not path.is_file() or _CLASS not in read_json_object(path):
        return files
    files = _with_text(files, _without(parse_json_object(text, TOKENIZER_CONFIG_FILE)))
    original = CopyFile(CARRIED_TOKENIZER_CONFIG, path, FileState.of(path))
    return replace(files, copies=(*files.copies, original))


def with_processor_class(files: SideFiles) -> SideFiles:
    """The files of a composite, from those of its Forgather model."""
    carried = _copy_of(CARRIED_TOKENIZER_CONFIG, files)
    if carried is None:
        return files
    files = replace(
        files, copies=tuple(copy for copy in files.copies if copy.name != CARRIED_TOKENIZER_CONFIG)
    )
    text, original = _text(files), read_text(carried.source)
    content = parse_json_object(original, str(carried.source))
    if text is None or text.encode("utf-8") == _without(content):
        others = (copy for copy in files.copies if copy.name != TOKENIZER_CONFIG_FILE)
        state = FileState.of(carried.source)
        return replace(
            files, copies=(*others, CopyFile(TOKENIZER_CONFIG_FILE, carried.source, state))
        )
    current = parse_json_object(text, TOKENIZER_CONFIG_FILE)
    return _with_text(files, encode_json({**current, _CLASS: content.get(_CLASS)}))


def _without(content: Mapping[str, Any]) -> bytes:
    return encode_json({name: content[name] for name in content if name != _CLASS})


def _copy_of(name: str, files: SideFiles) -> CopyFile | None:
    return next((copy for copy in files.copies if copy.name == name), None)


def _text(files: SideFiles) -> str | None:
    """The text of the tokenizer's config in the destination."""
    for write in files.writes:
        if write.name == TOKENIZER_CONFIG_FILE:
            return write.content.decode("utf-8")
    copy = _copy_of(TOKENIZER_CONFIG_FILE, files)
    return None if copy is None else read_text(copy.source)


def _with_text(files: SideFiles, content: bytes) -> SideFiles:
    return replace(
        files,
        writes=(
            *(write for write in files.writes if write.name != TOKENIZER_CONFIG_FILE),
            WriteFile(TOKENIZER_CONFIG_FILE, content),
        ),
        copies=tuple(copy for copy in files.copies if copy.name != TOKENIZER_CONFIG_FILE),
    )
