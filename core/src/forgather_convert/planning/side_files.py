"""The files beside config and weights: which are taken along, which are left out."""

import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from forgather_convert.errors import SourceError
from forgather_convert.planning.provenance import PROVENANCE_FILE
from forgather_convert.source.config_file import CONFIG_FILE
from forgather_convert.source.files import CopyFile, WriteFile
from forgather_convert.vocabulary.chat_template import template_write
from forgather_convert.weights.checkpoint import INDEX_FILE

logger = logging.getLogger(__name__)

#: Weights in formats that are not converted, and what trainers leave beside a model.
_OTHER_WEIGHTS = (
    ".safetensors",
    ".bin",
    ".pt",
    ".pth",
    ".gguf",
    ".ggml",
    ".onnx",
    ".h5",
    ".msgpack",
    ".ot",
    ".distcp",
    ".ckpt",
)


@dataclass(frozen=True)
class SideFiles:
    """The result: files to write, files to copy, and names that are left out."""

    writes: tuple[WriteFile, ...]
    copies: tuple[CopyFile, ...]
    left_out: tuple[str, ...]


def plan_side_files(
    directory: Path,
    weights_files: Collection[Path],
    replaced: Collection[str],
    chat_template: Path | None,
    writes: tuple[WriteFile, ...] = (),
) -> SideFiles:
    """Plans the files of a directory that are neither config nor weights.

    Args:
        directory: Where they are.
        weights_files: The files that are converted, index included.
        replaced: Names that belong to the source's format and are not taken along.
        chat_template: A template to store instead of the source's.
        writes: Files of the directory whose content changes.

    Raises:
        SourceError: A file cannot be read.
    """
    copies, left_out = [], []
    for path in sorted(directory.iterdir()):
        if path.name in (CONFIG_FILE, PROVENANCE_FILE) or path in weights_files:
            continue
        if path.name in replaced:
            continue
        if not path.exists():
            raise SourceError(f"{path} is a link to a file that does not exist.")
        if not path.is_file() or _is_other_weights(path):
            left_out.append(path.name)
        else:
            copies.append(CopyFile(path.name, path))
    if chat_template is not None:
        write = template_write(directory, chat_template, writes)
        writes = (*(other for other in writes if other.name != write.name), write)
    written = {write.name for write in writes}
    copies = [copy for copy in copies if copy.name not in written]
    if left_out:
        logger.info("Not carried along: %s", ", ".join(left_out))
    return SideFiles(writes, tuple(copies), tuple(left_out))


def _is_other_weights(path: Path) -> bool:
    return path.suffix.lower() in _OTHER_WEIGHTS or path.name in INDEX_FILE.values()
