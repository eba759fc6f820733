"""The files and checkpoints of a directory, by their names."""

import os
from pathlib import Path

from forgather_convert.inspection.result import CheckpointContents, File
from forgather_convert.source.checkpoint_choice import numbered_checkpoints
from forgather_convert.source.readable_weights import checkpoint_kinds
from forgather_convert.weights.file_names import INDEX_FILE

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".distcp", *INDEX_FILE.values())


def files_of(directory: Path) -> tuple[File, ...]:
    """The regular files in a directory; inaccessible ones are left out."""
    files = []
    with os.scandir(directory) as entries:
        for entry in entries:
            try:
                if entry.is_file():
                    size = entry.stat().st_size
                    files.append(File(entry.name, size, entry.name.endswith(_WEIGHTS)))
            except OSError:
                # A broken or circular link; if the file is needed, reading it fails.
                continue
    return tuple(sorted(files, key=lambda file: file.name))


def checkpoints_of(directory: Path, converted: Path | None) -> tuple[CheckpointContents, ...]:
    """The ``checkpoint-N`` of a model.

    Raises:
        SourceError: A directory cannot be listed.
    """
    return tuple(
        CheckpointContents(
            path=item.path,
            step=item.number,
            contents=checkpoint_kinds(item.path),
            num_bytes=sum(file.num_bytes for file in files_of(item.path)),
            is_converted=converted is not None and item.path == converted,
        )
        for item in numbered_checkpoints(directory)
    )
