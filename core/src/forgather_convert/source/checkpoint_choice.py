"""Which of a Forgather model's checkpoints to convert."""

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
#: How many other checkpoints a message offers.
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

    In this order: what was requested; the highest-numbered ``checkpoint-N``, in the source
    or in its ``checkpoints``; the source itself. What comes first counts, even if it cannot
    be read: another one in its place would lose training without a word.

    Raises:
        SourceError: There are none, two have the same number, or they cannot be read. The
            message says why, and which others can be.
    """
    numbered = numbered_checkpoints(source)
    if requested is not None:
        directory = _requested_directory(source, requested, numbered)
        weights = _weights_of(
            directory, source, numbered, open_weights, what="the checkpoint asked for"
        )
        logger.info("Using the checkpoint %s, as --checkpoint-path asks", directory)
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
            f"read: {error} Use --checkpoint-path to say where others are."
        ) from error
    logger.info("Using the weights of %s itself; it has no checkpoint-N", source)
    return weights


def numbered_checkpoints(source: Path) -> tuple[NumberedCheckpoint, ...]:
    """All ``checkpoint-N`` of a model, the highest number first.

    Links to directories count, also those that lead nowhere: they cannot be read, and that
    is for the caller to say.

    Raises:
        SourceError: A directory cannot be listed.
    """
    found = []
    for parent in (source, source / CHECKPOINTS_DIRECTORY):
        try:
            paths = list(parent.iterdir()) if parent.is_dir() else []
        except OSError as error:
            raise SourceError(
                f"{parent} cannot be listed: {error.strerror}. Correct its permissions."
            ) from error
        for path in paths:
            match = CHECKPOINT_NAME.fullmatch(path.name)
            if match and (path.is_dir() or (path.is_symlink() and not path.exists())):
                found.append(NumberedCheckpoint(int(match[1]), path))
    return tuple(sorted(found, reverse=True))


def _newest(numbered: tuple[NumberedCheckpoint, ...]) -> Path:
    """The checkpoint with the highest number; a link to another one is the same one."""
    equals = [item.path for item in numbered if item.number == numbered[0].number]
    if len({real_path(path) for path in equals}) > 1:
        raise SourceError(
            f"{' and '.join(map(str, equals))} have the same number; which of them is newer "
            f"cannot be told. Choose one with --checkpoint-path: {_choices(equals)}."
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
    # Its name is longer than any can be, or it may not be looked at.
    except OSError:
        return False


def _weights_of(
    directory: Path,
    source: Path,
    numbered: tuple[NumberedCheckpoint, ...],
    open_weights: OpenWeights,
    what: str,
) -> Checkpoint:
    """The weights of a directory; the error of one without says what else there is."""
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
    """A sentence with the other weights of a model that can be read."""
    directories = [item.path for item in numbered if item.path != besides]
    if besides != source:
        directories.append(source)
    readable = []
    for directory in directories:
        try:
            readable_weights(directory)
        except SourceError as error:
            logger.debug("%s cannot be offered: %s", directory, error)
            continue
        readable.append(directory)
        if len(readable) == _MAX_OFFERED:
            break
    if not readable:
        return (
            " There is no other checkpoint here that can be read. "
            "Use --checkpoint-path to say where another one is."
        )
    return f" Choose other weights with --checkpoint-path: {_choices(readable)}."


def _choices(directories: Iterable[Path]) -> str:
    return ", ".join(f"-c {shlex.quote(str(directory))}" for directory in directories)


def _report_newer(chosen: Path, numbered: Iterable[NumberedCheckpoint]) -> None:
    """Says that another checkpoint is newer than the one with the highest number.

    So it is after a training that went back to an earlier step, and in a copy that did not keep
    the times. The Forgather framework takes the newest directory; files that were removed from one
    make it newer than its weights.
    """
    with_weights = [item.path for item in numbered if has_weights(item.path)]
    for time_of in (_time_of_directory, _time_of_weights):
        newest = max(with_weights, key=time_of, default=chosen)
        times = [time_of(path) for path in (newest, chosen)]
        if times[0] > times[1]:
            logger.warning(
                "%s is converted, since its number is the highest, but %s is newer (%s; %s: %s). "
                "If the newer one is meant, as after a training that went back, use %s",
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
    """Says which other weights the user may have meant, as far as the trainer has noted it."""
    own = read_trainer_state(source)
    if own.step is not None and own.step > numbered[0].number and has_weights(source):
        logger.warning(
            "%s was saved at step %d, after %s. If its own weights are meant, use %s",
            source,
            own.step,
            chosen.name,
            _choices([source]),
        )
    best = read_trainer_state(chosen).best_checkpoint or own.best_checkpoint
    path = next((item.path for item in numbered if item.path.name == best), None)
    if path is not None and real_path(path) != real_path(chosen):
        logger.info(
            "The trainer found %s to be the best, not %s. If it is meant, use %s",
            path.name,
            chosen.name,
            _choices([path]),
        )
