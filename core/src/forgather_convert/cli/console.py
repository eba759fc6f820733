"""What the user sees: logs and progress on stderr, data on stdout."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
#: The names of all parameters, for ``--debug-params``.
PARAMETERS_LOGGER = "forgather_convert.parameters"
_STYLES = {"WARNING": "yellow", "ERROR": "bold red", "CRITICAL": "bold red", "DEBUG": "dim"}


def stderr_console() -> "Console":
    """A console on stderr; it has colours on a terminal, unless NO_COLOR is set."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


class _ConsoleHandler(logging.Handler):
    """Prints messages as they are, with the level in front where it is not INFO."""

    def __init__(self) -> None:
        super().__init__()
        self._console = stderr_console()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = self.format(record)
        except Exception:
            self.handleError(record)
            return
        style = _STYLES.get(record.levelname)
        prefix = "" if record.levelno == logging.INFO else f"{record.levelname}: "
        self._console.print(prefix + message, style=style, markup=False)


def set_up_logging(level: str, debug_params: bool = False) -> None:
    """Sends the library's messages to stderr, and keeps other libraries quiet."""
    logger = logging.getLogger("forgather_convert")
    logger.handlers = [_ConsoleHandler()]
    logger.setLevel(level)
    logger.propagate = False
    logging.getLogger(PARAMETERS_LOGGER).setLevel("INFO" if debug_params else "WARNING")
    if level != "DEBUG":
        warnings.simplefilter("ignore")
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    # Nothing is ever fetched; without this some versions ask the hub about local models.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")


class ProgressBar:
    """A bar that is shown on a terminal only."""

    def __init__(self) -> None:
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        console = stderr_console()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("Writing weights", total=None)

    def start(self, total: int) -> None:
        """Shows the bar, for a number of bytes."""
        self._progress.update(self._task, total=total)
        self._progress.start()

    def advance(self, count: int) -> None:
        self._progress.advance(self._task, count)
        if self._progress.finished:
            self._progress.stop()

    def stop(self) -> None:
        self._progress.stop()


@contextmanager
def progress_bar() -> Iterator[ProgressBar]:
    bar = ProgressBar()
    try:
        yield bar
    finally:
        bar.stop()
