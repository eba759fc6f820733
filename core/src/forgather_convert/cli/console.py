"""What the user sees: logs and progress on stderr, data on stdout.

Everything that is printed goes through this module. Names, values and errors that come from a
source may hold what a terminal obeys; here, and nowhere else, it is shown as escapes. Of a log
message with arguments the line breaks are ours where they stand in the message, and escaped in
an argument; the further lines of an error are set in, so that none can be taken for a message.
"""

import io
import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from forgather_convert.errors import ForgatherConvertError
from forgather_convert.source.plain_text import indented, one_line, printable

if TYPE_CHECKING:
    from rich.console import Console

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
#: The names of all parameters, for ``--debug-params``.
PARAMETERS_LOGGER = "forgather_convert.parameters"
_STYLES = {"WARNING": "yellow", "ERROR": "bold red", "CRITICAL": "bold red", "DEBUG": "dim"}


def stderr_console() -> "Console":
    """A console on stderr; it has colours on a terminal, unless NO_COLOR is set."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)


def echo(text: str, err: bool = False) -> None:
    """Prints text of several lines, on the standard output or on the standard error."""
    click.echo(printable(text), err=err)


def echo_error(message: str) -> None:
    """Prints an error where there is no log yet."""
    echo(indented(f"ERROR: {message}"), err=True)


def echo_usage_error(error: click.ClickException) -> None:
    """Prints what is wrong with the command line, with the usage."""
    text = io.StringIO()
    error.show(file=text)
    echo(text.getvalue().removesuffix("\n"), err=True)


def echo_json(content: object) -> None:
    """Prints a value as JSON, in ASCII, on the standard output."""
    click.echo(json.dumps(content, indent=2).replace("\x7f", "\\u007f"))


class _PrintableRecord(logging.LogRecord):
    """A message, of this library or of another, that is safe to print."""

    def getMessage(self) -> str:  # noqa: N802 - logging calls it so
        if isinstance(self.args, tuple):
            self.args = tuple(map(_printable_argument, self.args))
        elif isinstance(self.args, Mapping):
            self.args = {name: _printable_argument(value) for name, value in self.args.items()}
        return printable(super().getMessage())


def _printable_argument(value: object) -> object:
    """Puts a text on one line. Numbers stay, for ``%d``; so do our own errors, which have lines."""
    is_text = isinstance(value, str | os.PathLike | BaseException)
    return (
        one_line(str(value)) if is_text and not isinstance(value, ForgatherConvertError) else value
    )


class _ConsoleHandler(logging.Handler):
    """Prints messages with the level in front where it is not INFO."""

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
        # The traceback, if there is one, is in the text now.
        text = printable(indented(prefix + message))
        self._console.print(text, style=style, markup=False)


def set_up_logging(level: str, debug_params: bool = False) -> None:
    """Sends the library's messages to stderr, and keeps other libraries quiet."""
    logger = logging.getLogger("forgather_convert")
    logging.setLogRecordFactory(_PrintableRecord)
    logger.handlers = [_ConsoleHandler()]
    logger.setLevel(level)
    logger.propagate = False
    logging.getLogger(PARAMETERS_LOGGER).setLevel("INFO" if debug_params else "WARNING")
    if level != "DEBUG":
        warnings.simplefilter("ignore")
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


def keep_quiet() -> None:
    """Prints nothing: another process tells the user."""
    logger = logging.getLogger("forgather_convert")
    logger.handlers = [logging.NullHandler()]
    logger.propagate = False
    warnings.simplefilter("ignore")


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
