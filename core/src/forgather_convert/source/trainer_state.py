"""Reads ``trainer_state.json``: the step, and the best checkpoint."""

import logging
import re
from dataclasses import dataclass
from pathlib import Path

from forgather_convert.errors import SourceError
from forgather_convert.files.json_file import read_json_object

logger = logging.getLogger(__name__)

TRAINER_STATE_FILE = "trainer_state.json"
CHECKPOINT_NAME = re.compile(r"checkpoint-([0-9]+)")
#: The maximum size in bytes, enough for a history of a million steps.
_MAX_SIZE = 256 << 20


@dataclass(frozen=True)
class TrainerState:
    """What matters of a trainer's state for the choice of a checkpoint.

    Attributes:
        step: The step; ``None`` if the file does not state it.
        best_checkpoint: The name of the best checkpoint, such as ``checkpoint-500``, without the
            path, which may be one on another machine; ``None`` if the file does not state it.
    """

    step: int | None = None
    best_checkpoint: str | None = None


def read_trainer_state(directory: Path) -> TrainerState:
    """Reads a directory's trainer state; missing or invalid values are ``None``."""
    path = directory / TRAINER_STATE_FILE
    try:
        if not path.is_file() or path.stat().st_size > _MAX_SIZE:
            return TrainerState()
        content = read_json_object(path)
    # A conversion does not need it, so a damaged file does not stop it.
    except (SourceError, OSError, RecursionError) as error:
        logger.debug("Ignoring %s: %s", path, error)
        return TrainerState()
    step, best = content.get("global_step"), content.get("best_model_checkpoint")
    name = re.split(r"[/\\]", best.rstrip("/\\"))[-1] if isinstance(best, str) else ""
    return TrainerState(
        step=step if type(step) is int else None,
        best_checkpoint=name if CHECKPOINT_NAME.fullmatch(name) else None,
    )
