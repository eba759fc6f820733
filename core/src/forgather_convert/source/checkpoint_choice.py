"""Which of a Forgather model's checkpoints to convert."""

import logging
import re
from pathlib import Path

from forgather_convert.errors import SourceError
from forgather_convert.weights.checkpoint import WeightsFiles, find_weights, open_checkpoint

logger = logging.getLogger(__name__)

_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


def find_checkpoint(source: Path, requested: Path | None) -> WeightsFiles:
    """Finds the weights to convert.

    In this order: what was requested; the highest-numbered checkpoint with weights, in
    the source or in its ``checkpoints``; the source itself.

    Raises:
        SourceError: There are none.
    """
    if requested is not None:
        return _requested_checkpoint(source, requested)
    for directory in _numbered_checkpoints(source):
        try:
            weights = find_weights(directory)
            if weights is not None:
                open_checkpoint(weights)
        except SourceError as error:
            logger.warning("Skipping %s: %s", directory, error)
            continue
        if weights is not None:
            logger.info("Using the latest checkpoint: %s", directory)
            return weights
        _refuse_sharded_state(directory)
        logger.warning("Skipping %s: it has no weights", directory)
    weights = find_weights(source)
    if weights is None:
        raise SourceError(
            f"Checkpoint not found: {source} has no weights of its own, and no checkpoint-N "
            "directory with weights, in it or in its 'checkpoints' directory. Use "
            "--checkpoint-path to say where they are."
        )
    return weights


def _refuse_sharded_state(directory: Path) -> None:
    """Refuses to pass over a checkpoint of FSDP for an older one."""
    if any(directory.glob("*/*.distcp")):
        raise SourceError(
            f"{directory} holds the shards of a distributed checkpoint, which are not read. Merge "
            "them with 'accelerate merge-weights', or use --checkpoint-path to choose another "
            "checkpoint."
        )


def _requested_checkpoint(source: Path, requested: Path) -> WeightsFiles:
    candidates = [requested]
    if not requested.is_absolute():
        candidates += [source / requested, source / "checkpoints" / requested]
    directory = next((path for path in candidates if path.is_dir()), None)
    if directory is None:
        raise SourceError(
            f"Checkpoint not found: {requested} is not a directory. Give a directory with weights."
        )
    weights = find_weights(directory)
    if weights is None:
        raise SourceError(
            f"Checkpoint not found: {directory} has neither model.safetensors nor "
            "pytorch_model.bin, nor an index of either. Give a directory with weights."
        )
    return weights


def _numbered_checkpoints(source: Path) -> list[Path]:
    """All ``checkpoint-N`` directories, the highest number first."""
    found = []
    for parent in (source, source / "checkpoints"):
        if not parent.is_dir():
            continue
        for path in parent.iterdir():
            match = _CHECKPOINT.fullmatch(path.name)
            if match and path.is_dir():
                found.append((int(match[1]), path))
    return [path for _, path in sorted(found, reverse=True)]
