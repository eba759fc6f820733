"""What the user sees: messages and progress on stderr, data on stdout.

Everything that is printed goes through this module. Names, values and errors that come from a
source may hold what a terminal obeys; here, and nowhere else, it is shown as escapes. Of a log
message with arguments the line breaks are ours where they stand in the message, and escaped in
an argument; the further lines of an error are set in, so that none can be taken for a message.

There is one console for messages and progress, so that neither writes over the other. On a
terminal lines are wrapped between words; in a pipe a message is a line.
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
from typing import TYPE_CHECKING

import click

from forgather_convert.errors import ForgatherConvertError
from forgather_convert.files.plain_text import indented, one_line, printable

if TYPE_CHECKING:
    from rich.console import Console

#: The names of all parameters, for ``--debug-params``.
PARAMETERS_LOGGER = "forgather_convert.parameters"
_STYLES = {"WARNING": "yellow", "ERROR": "bold red", "CRITICAL": "bold red", "DEBUG": "dim"}


def is_terminal() -> bool:
    """Whether messages go to a terminal."""
    return sys.stderr.isatty()


def can_be_redrawn() -> bool:
    """Whether lines on stderr can be written again: not in a pipe, nor in a log of a build."""
    is_build = os.environ.get("CI", "").lower() not in ("", "0", "false")
    return is_terminal() and not is_build and os.environ.get("TERM") not in ("dumb", "unknown")


def messages_console(width: int | None = None) -> "Console":
    """A console on stderr; it has colours on a terminal, unless NO_COLOR is set."""
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
    """Prints text of several lines, on the standard output or on the standard error."""
    text = printable(text)
    if (sys.stderr if err else sys.stdout).isatty():
        text = wrapped(text, shutil.get_terminal_size().columns)
    click.echo(text, err=err)


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


class MessageHandler(logging.Handler):
    """Prints messages with the level in front where it is not INFO.

    Attributes:
        console: Where they go if that is a terminal; what else is printed there uses it, too.
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
        # The traceback, if there is one, is in the text now.
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
    """Breaks lines between words; a name that is longer than a line is left to the terminal."""
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
    """Keeps the texts of warnings, for the JSON."""

    def __init__(self, warnings: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._warnings = warnings

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.WARNING:
            self._warnings.append(record.getMessage())


def set_up_logging(
    level: str, debug_params: bool = False, warnings: list[str] | None = None
) -> MessageHandler:
    """Sends the library's messages to stderr, and keeps other libraries quiet.

    Args:
        level: The least that is printed.
        debug_params: Whether the names of parameters are printed.
        warnings: Gets the texts of all warnings, printed or not.
    """
    logger = logging.getLogger("forgather_convert")
    logging.setLogRecordFactory(_PrintableRecord)
    handler = MessageHandler(level)
    logger.handlers = [handler, WarningCollector([] if warnings is None else warnings)]
    logger.setLevel(min(handler.level, logging.WARNING))
    logger.propagate = False
    parameters = logging.getLogger(PARAMETERS_LOGGER)
    parameters.setLevel("INFO" if debug_params else "WARNING")
    # What is asked for by name is printed, however little is printed of the rest.
    parameters.handlers = [_like(handler, "INFO")] if debug_params else []
    parameters.propagate = not debug_params
    if level != "DEBUG":
        python_warnings.simplefilter("ignore")
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    return handler


def _like(handler: MessageHandler, level: str) -> MessageHandler:
    """A handler of another level that prints where another one does."""
    other = MessageHandler(level)
    other.console = handler.console
    return other


def keep_quiet() -> None:
    """Prints nothing: another process tells the user."""
    logger = logging.getLogger("forgather_convert")
    logger.handlers = [logging.NullHandler()]
    logger.propagate = False
    python_warnings.simplefilter("ignore")
