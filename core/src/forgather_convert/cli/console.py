"""What the user sees: messages and progress on stderr, data on stdout.

Everything that is printed goes through this module. Names, values and errors that come from a
source may contain terminal control sequences; here, and nowhere else, they are escaped. In a log
message, line breaks of the format string are kept and those of its arguments are escaped; all
lines of an error but the first are indented, so that none can be mistaken for a message.

Messages and progress share one console, so that neither overwrites the other. On a terminal,
lines are wrapped between words; in a pipe, every message is one line.
"""

import io
import json
import logging
import os
import shutil
import sys
import textwrap
import warnings as python_warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import click

from forgather_convert.errors import ForgatherConvertError
from forgather_convert.files.plain_text import indented, one_line, printable
from forgather_convert.progress import Progress

if TYPE_CHECKING:
    from rich.console import Console

#: The logger for the names of all parameters, which ``--debug-params`` prints.
PARAMETERS_LOGGER = "forgather_convert.parameters"
_STYLES = {"WARNING": "yellow", "ERROR": "bold red", "CRITICAL": "bold red", "DEBUG": "dim"}


def is_terminal() -> bool:
    """Whether messages go to a terminal."""
    return sys.stderr.isatty()


def can_be_redrawn() -> bool:
    """Whether lines on stderr can be redrawn: not in a pipe, nor in the log of a build."""
    is_build = os.environ.get("CI", "").lower() not in ("", "0", "false")
    return is_terminal() and not is_build and os.environ.get("TERM") not in ("dumb", "unknown")


def messages_console(width: int | None = None) -> "Console":
    """A console on stderr, with colours on a terminal unless NO_COLOR is set."""
    from rich.console import Console

    return Console(
        stderr=True,
        highlight=False,
        markup=False,
        emoji=False,
        width=width,
        force_terminal=is_terminal(),
    )


def echo(text: str, err: bool = False) -> None:
    """Prints text of one or more lines to the standard output or the standard error."""
    text = printable(text)
    if (sys.stderr if err else sys.stdout).isatty():
        text = wrapped(text, shutil.get_terminal_size().columns)
    click.echo(text, err=err)


def echo_error(message: str) -> None:
    """Prints an error before logging is set up."""
    echo(indented(f"ERROR: {message}"), err=True)


def echo_usage_error(error: click.ClickException) -> None:
    """Prints what is wrong with the command line, and the usage."""
    text = io.StringIO()
    error.show(file=text)
    echo(text.getvalue().removesuffix("\n"), err=True)


def echo_json(content: object) -> None:
    """Prints a value as ASCII JSON to the standard output."""
    click.echo(json.dumps(content, indent=2).replace("\x7f", "\\u007f"))


class _PrintableRecord(logging.LogRecord):
    """A log message, from this library or another, that is safe to print."""

    def getMessage(self) -> str:  # noqa: N802 - logging calls it so
        if isinstance(self.args, tuple):
            self.args = tuple(map(_printable_argument, self.args))
        elif isinstance(self.args, Mapping):
            self.args = {name: _printable_argument(value) for name, value in self.args.items()}
        return printable(super().getMessage())


def _printable_argument(value: object) -> object:
    """Puts a text on one line. Numbers are kept for ``%d``, our own errors for their lines."""
    is_text = isinstance(value, str | os.PathLike | BaseException)
    return (
        one_line(str(value)) if is_text and not isinstance(value, ForgatherConvertError) else value
    )


class MessageHandler(logging.Handler):
    """Prints messages, preceded by the level unless it is INFO.

    Attributes:
        console: The console, if stderr is a terminal; the display of progress shares it.
    """

    def __init__(self, level: str) -> None:
        super().__init__(level)
        self.console = messages_console() if is_terminal() else None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = self.format(record)
        except Exception:
            self.handleError(record)
            return
        prefix = "" if record.levelno == logging.INFO else f"{record.levelname}: "
        # The text includes the traceback, if there is one.
        text = printable(indented(prefix + message))
        if self.console is None:
            echo(text, err=True)
        else:
            self.console.print(
                wrapped(text, self.console.width),
                style=_STYLES.get(record.levelname),
                soft_wrap=True,
            )


def wrapped(text: str, width: int) -> str:
    """Wraps lines between words; a name longer than a line is left to the terminal."""
    lines: list[str] = []
    for line in text.split("\n"):
        indent = line[: len(line) - len(line.lstrip(" "))]
        lines += textwrap.wrap(
            line,
            width,
            subsequent_indent=f"{indent}  ",
            expand_tabs=False,
            replace_whitespace=False,
            break_long_words=False,
            break_on_hyphens=False,
        ) or [""]
    return "\n".join(lines)


class WarningCollector(logging.Handler):
    """Collects the texts of warnings, for the JSON."""

    def __init__(self, warnings: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._warnings = warnings

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.WARNING:
            self._warnings.append(record.getMessage())


def set_up_logging(
    level: str, debug_params: bool = False, warnings: list[str] | None = None
) -> MessageHandler:
    """Sends the library's messages to stderr, and silences other libraries."""
    logger = logging.getLogger("forgather_convert")
    logging.setLogRecordFactory(_PrintableRecord)
    handler = MessageHandler(level)
    logger.handlers = [handler, WarningCollector([] if warnings is None else warnings)]
    logger.setLevel(min(handler.level, logging.WARNING))
    logger.propagate = False
    parameters = logging.getLogger(PARAMETERS_LOGGER)
    parameters.setLevel("INFO" if debug_params else "WARNING")
    # They were requested explicitly, so they are printed even with --quiet.
    parameters.handlers = [_like(handler, "INFO")] if debug_params else []
    parameters.propagate = not debug_params
    if level != "DEBUG":
        python_warnings.simplefilter("ignore")
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    return handler


def _like(handler: MessageHandler, level: str) -> MessageHandler:
    """A handler with another level that shares a handler's console."""
    other = MessageHandler(level)
    other.console = handler.console
    return other


def phase_display(
    messages: MessageHandler, shows_progress: bool
) -> AbstractContextManager[Progress]:
    """Shows the phases of a command, if messages go to a terminal that can redraw lines."""
    if messages.console is None or not shows_progress or not can_be_redrawn():
        return nullcontext(Progress())
    # Not at the top: other commands do not need it.
    from forgather_convert.cli.phases import PhaseLines

    return PhaseLines(messages.console)


def keep_quiet() -> None:
    """Prints nothing: the first process does."""
    logger = logging.getLogger("forgather_convert")
    logger.handlers = [logging.NullHandler()]
    logger.propagate = False
    python_warnings.simplefilter("ignore")
