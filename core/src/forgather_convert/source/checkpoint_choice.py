"""Chooses which of a Forgather model's checkpoints to convert."""

import logging
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from forgather_convert.errors import SourceError
from forgather_convert.files.real_path import real_path
from forgather_convert.source.readable_weights import readable_weights
from forgather_convert.source.trainer_state import CHECKPOINT_NAME, read_trainer_state
from forgather_convert.weights.checkpoint import Checkpoint
from forgather_convert.weights.file_names import WEIGHTS_SUFFIXES
from forgather_convert.weights.formats import OpenWeights, has_weights, open_core_weights

logger = logging.getLogger(__name__)

CHECKPOINTS_DIRECTORY = "checkpoints"
#: How many other checkpoints a message suggests.
_MAX_OFFERED = 5


@dataclass(frozen=True, order=True)
class NumberedCheckpoint:
    """A ``checkpoint-N`` directory."""

    number: int
    path: Path


def find_checkpoint(
    source: Path, requested: Path | None, open_weights: OpenWeights = open_core_weights
) -> Checkpoint:
    """Finds the weights to convert.

    In this order: the requested checkpoint; the highest-numbered ``checkpoint-N`` in the source or
    in its ``checkpoints``; the source itself. If the first of them cannot be read, that is an
    error: using another one instead would silently lose training.

    Raises:
        SourceError: There are no weights, two checkpoints have the same number, or the weights
            cannot be read. The message says why, and which others can be read.
    """
    numbered = numbered_checkpoints(source)
    if requested is not None:
        directory = _requested_directory(source, requested, numbered)
        weights = _weights_of(
            directory, source, numbered, open_weights, what="the requested checkpoint"
        )
        logger.info("Using the checkpoint given by --checkpoint-path: %s", directory)
        return weights
    if numbered:
        directory = _newest(numbered)
        weights = _weights_of(
            directory, source, numbered, open_weights, what="the latest checkpoint"
        )
        logger.info("Using the latest checkpoint: %s", directory)
        _report_newer(directory, numbered)
        _report_what_else_was_trained(source, directory, numbered)
        return weights
    try:
        weights = readable_weights(source, open_weights)
    except SourceError as error:
        raise SourceError(
            f"Checkpoint not found: there is no checkpoint-N in {source} or in its "
            f"'{CHECKPOINTS_DIRECTORY}' directory, and the weights of {source} itself cannot be "
            f"read: {error} Use --checkpoint-path to name other weights."
        ) from error
    logger.info("Using the weights of %s itself; it has no checkpoint-N", source)
    return weights


def numbered_checkpoints(source: Path) -> tuple[NumberedCheckpoint, ...]:
    """All ``checkpoint-N`` of a model, the highest number first.

    Links to directories are included, even broken ones, which the caller reports as unreadable.

    Raises:
        SourceError: A directory cannot be listed.
    """
    checkpoints = []
    for parent in (source, source / CHECKPOINTS_DIRECTORY):
        try:
            paths = list(parent.iterdir()) if parent.is_dir() else []
        except OSError as error:
            raise SourceError(
                f"{parent} cannot be listed: {error.strerror}. Fix its permissions."
            ) from error
        for path in paths:
            match = CHECKPOINT_NAME.fullmatch(path.name)
            if match and (path.is_dir() or (path.is_symlink() and not path.exists())):
                checkpoints.append(NumberedCheckpoint(int(match[1]), path))
    return tuple(sorted(checkpoints, reverse=True))


def _newest(numbered: tuple[NumberedCheckpoint, ...]) -> Path:
    """The checkpoint with the highest number; a link and its target count as one."""
    equals = [item.path for item in numbered if item.number == numbered[0].number]
    if len({real_path(path) for path in equals}) > 1:
        raise SourceError(
            f"{' and '.join(map(str, equals))} have the same number, so it is unclear which one "
            f"is newer. Choose one with --checkpoint-path: {_choices(equals)}."
        )
    return equals[0]


def _requested_directory(
    source: Path, requested: Path, numbered: tuple[NumberedCheckpoint, ...]
) -> Path:
    candidates = [requested]
    if not requested.is_absolute():
        candidates += [source / requested, source / CHECKPOINTS_DIRECTORY / requested]
    directory = next(filter(_is_directory, candidates), None)
    if directory is None:
        raise SourceError(
            f"Checkpoint not found: {requested} is not a directory. "
            f"Give a directory with weights.{_others(source, numbered, besides=None)}"
        )
    return directory


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    # Its name is too long, or access is denied.
    except OSError:
        return False


def _weights_of(
    directory: Path,
    source: Path,
    numbered: tuple[NumberedCheckpoint, ...],
    open_weights: OpenWeights,
    what: str,
) -> Checkpoint:
    """Opens the weights of a directory; if there are none, the error suggests alternatives."""
    try:
        if not directory.exists():
            raise SourceError(f"{directory} is a link to a directory that does not exist.")
        return readable_weights(directory, open_weights)
    except SourceError as error:
        raise SourceError(
            f"Checkpoint not found: {what} cannot be converted. {error}"
            f"{_others(source, numbered, besides=directory)}"
        ) from error


def _others(source: Path, numbered: tuple[NumberedCheckpoint, ...], besides: Path | None) -> str:
    """A sentence that suggests other weights of the model that can be read."""
    directories = [item.path for item in numbered if item.path != besides]
    if besides != source:
        directories.append(source)
    readable = []
    for directory in directories:
        try:
            readable_weights(directory)
        except SourceError as error:
            logger.debug("%s cannot be suggested: %s", directory, error)
            continue
        readable.append(directory)
        if len(readable) == _MAX_OFFERED:
            break
    if not readable:
        return " No other checkpoint here can be read. Use --checkpoint-path to name another one."
    return f" Choose other weights with --checkpoint-path: {_choices(readable)}."


def _choices(directories: Iterable[Path]) -> str:
    return ", ".join(f"-c {shlex.quote(str(directory))}" for directory in directories)


def _report_newer(chosen: Path, numbered: Iterable[NumberedCheckpoint]) -> None:
    """Warns if another checkpoint is newer than the one with the highest number.

    This happens after a training that went back to an earlier step, and in a copy that did not
    preserve times. The Forgather framework takes the newest directory; removing files from a
    directory makes it newer than its weights.
    """
    with_weights = [item.path for item in numbered if has_weights(item.path)]
    for time_of in (_time_of_directory, _time_of_weights):
        newest = max(with_weights, key=time_of, default=chosen)
        times = [time_of(path) for path in (newest, chosen)]
        if times[0] > times[1]:
            logger.warning(
                "Converting %s, which has the highest number, but %s is newer (%s; %s: %s). To "
                "convert the newer one, for example after resuming from an earlier step, use %s",
                chosen,
                newest,
                *map(_shown_time, times[:1]),
                chosen.name,
                *map(_shown_time, times[1:]),
                _choices([newest]),
            )
            return


def _time_of_directory(checkpoint: Path) -> float:
    return checkpoint.stat().st_mtime


def _time_of_weights(checkpoint: Path) -> float:
    times = [
        path.stat().st_mtime
        for path in checkpoint.rglob("*")
        if path.suffix in WEIGHTS_SUFFIXES and path.is_file()
    ]
    return max(times, default=0.0)


def _shown_time(time: float) -> str:
    return f"{datetime.fromtimestamp(time):%Y-%m-%d %H:%M:%S}"


def _report_what_else_was_trained(
    source: Path, chosen: Path, numbered: tuple[NumberedCheckpoint, ...]
) -> None:
    """Tells which other weights the user may have meant, according to the trainer's records."""
    own = read_trainer_state(source)
    if own.step is not None and own.step > numbered[0].number and has_weights(source):
        logger.warning(
            "%s itself was saved at step %d, after %s. To convert its own weights, use %s",
            source,
            own.step,
            chosen.name,
            _choices([source]),
        )
    best = read_trainer_state(chosen).best_checkpoint or own.best_checkpoint
    path = next((item.path for item in numbered if item.path.name == best), None)
    if path is not None and real_path(path) != real_path(chosen):
        logger.info(
            "The trainer recorded %s as the best checkpoint, not %s. To convert it, use %s",
            path.name,
            chosen.name,
            _choices([path]),
        )
