"""Finds models by their names on the Hugging Face Hub, and in its cache.

The cache's layout, from https://huggingface.co/docs/huggingface_hub/guides/manage-cache: in
``models--org--name``, ``snapshots`` has a directory for each revision, named by its commit, and
``refs`` has files with the commits of branches.
"""

import logging
import os
import re
import sys
from pathlib import Path
from typing import Any

from forgather_convert.errors import SourceError, first_line
from forgather_convert.files.file_errors import with_filename
from forgather_convert.weights.formats import open_core_weights

logger = logging.getLogger(__name__)

_OFFLINE = "HF_HUB_OFFLINE"
_NAME = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^@\s]+))?", re.ASCII)
CACHED = "models--"
SNAPSHOTS = "snapshots"
_MAIN = Path("refs", "main")
#: Files that are not downloaded: folders, and weights in unsupported formats.
_LEFT_OUT = [
    "*/*",
    "*.gguf",
    "*.ggml",
    "*.h5",
    "*.msgpack",
    "*.onnx",
    "*.onnx_data",
    "*.ot",
    "*.pt",
    "*.pth",
    "*.ckpt",
]
#: Files that are downloaded only if there is no safetensors.
_PYTORCH = ["*.bin", "*.bin.index.json"]


def resolve_source(source: Path) -> Path:
    """The directory that a source names: itself, or a model's snapshot in the Hub cache.

    A name is ``org/name`` or ``org/name@revision``, if no such path exists. A snapshot that is
    complete in the cache is used as it is; others are downloaded.

    Raises:
        SourceError: The model is not in the cache and cannot be downloaded, or it is unclear
            which of several snapshots is meant.
    """
    if os.path.lexists(source):
        return _snapshot_in(source)
    match = _NAME.fullmatch(str(source))
    if match is None:
        # If it does not exist, opening it raises the error.
        return source
    name, revision = match["name"], match["revision"]
    snapshot = _cached(name, revision)
    if snapshot is None:
        snapshot = _downloaded(name, revision)
    logger.info("Using %s from the Hub: %s", source, snapshot)
    return snapshot


def stay_offline() -> None:
    """Prevents all downloads from here on; some libraries query the Hub about local models.

    If the user has set ``HF_HUB_OFFLINE``, its value is kept.
    """
    if _OFFLINE in os.environ:
        return
    os.environ[_OFFLINE] = "1"
    constants: Any = sys.modules.get("huggingface_hub.constants")
    if constants is not None:
        # It read the variable when it was imported.
        constants.HF_HUB_OFFLINE = True


def _snapshot_in(directory: Path) -> Path:
    """The snapshot of a model's directory in the cache; any other path is returned unchanged."""
    snapshots = directory / SNAPSHOTS
    if not directory.resolve().name.startswith(CACHED) or not snapshots.is_dir():
        return directory
    directories = sorted(path for path in snapshots.iterdir() if path.is_dir())
    main = directory / _MAIN
    if main.is_file():
        with with_filename(main):
            commit = main.read_text("utf-8", "replace").strip()
        chosen = [path for path in directories if path.name == commit]
    else:
        chosen = directories
    if len(chosen) != 1:
        names = ", ".join(map(str, directories)) or "none"
        raise SourceError(
            f"{directory} is a model in the Hub cache, and it is unclear which of its "
            f"snapshots is meant (found: {names}). Give the directory of one, or download the "
            "model again."
        )
    return chosen[0]


def _cached(name: str, revision: str | None) -> Path | None:
    """A model's snapshot in the cache, if all its weights are there."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        snapshot = Path(snapshot_download(name, revision=revision, local_files_only=True))
        return snapshot if open_core_weights(snapshot) is not None else None
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    except SourceError as error:
        logger.debug("The snapshot of %s in the cache is not used: %s", name, error)
        return None


def _downloaded(name: str, revision: str | None) -> Path:
    from huggingface_hub import constants, snapshot_download

    if constants.HF_HUB_OFFLINE:
        raise SourceError(
            f"{_shown(name, revision)} is neither a directory nor a complete model in the Hub "
            f"cache ({constants.HF_HUB_CACHE}), and {_OFFLINE} prevents the download. "
            f"Download the model, or unset {_OFFLINE}."
        )
    logger.info("Downloading %s from the Hub", _shown(name, revision))
    try:
        for left_out in ([*_LEFT_OUT, *_PYTORCH], _LEFT_OUT):
            snapshot = Path(snapshot_download(name, revision=revision, ignore_patterns=left_out))
            if open_core_weights(snapshot) is not None:
                break
    except SourceError:
        raise
    # The Hub's library, and the one that it uses for HTTP, raise exceptions of many types.
    except Exception as error:
        raise SourceError(
            f"{_shown(name, revision)} is not a directory, and cannot be downloaded as a model "
            f"from the Hub: {first_line(error)} ({type(error).__name__}). Check the name, your "
            "access to the model, and the connection."
        ) from error
    return snapshot


def _shown(name: str, revision: str | None) -> str:
    return name if revision is None else f"{name}@{revision}"
