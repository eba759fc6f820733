"""What ``trainer_state.json`` says: the step, and which checkpoint was the best."""

import logging
import re
from dataclasses import dataclass
from pathlib import Path

from forgather_convert.errors import SourceError
from forgather_convert.files.json_file import read_json_object

logger = logging.getLogger(__name__)

TRAINER_STATE_FILE = "trainer_state.json"
CHECKPOINT_NAME = re.compile(r"checkpoint-([0-9]+)")
#: A history of a million steps stays below this, in bytes.
_MAX_SIZE = 256 << 20


@dataclass(frozen=True)
class TrainerState:
    """The few facts of a training that matter for the choice of a checkpoint.

    Attributes:
        step: How far it had come; ``None`` if the file does not say.
        best_checkpoint: The plain name of the best checkpoint, as ``checkpoint-500``; the
            file's path may be one of another machine. ``None`` if the file does not say.
    """

    step: int | None = None
    best_checkpoint: str | None = None


def read_trainer_state(directory: Path) -> TrainerState:
    """Reads a directory's trainer state; what is absent or makes no sense is ``None``."""
    path = directory / TRAINER_STATE_FILE
    try:
        if not path.is_file() or path.stat().st_size > _MAX_SIZE:
            return TrainerState()
        content = read_json_object(path)
    # It is not needed to convert, so a damaged one does not stop the conversion.
    except (SourceError, OSError, RecursionError) as error:
        logger.debug("Ignoring %s: %s", path, error)
        return TrainerState()
    step, best = content.get("global_step"), content.get("best_model_checkpoint")
    name = re.split(r"[/\\]", best.rstrip("/\\"))[-1] if isinstance(best, str) else ""
    return TrainerState(
        step=step if type(step) is int else None,
        best_checkpoint=name if CHECKPOINT_NAME.fullmatch(name) else None,
    )
