"""How much a command prints: ``-q``, ``-v`` and ``--log-level``."""

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

#: The names of the three.
VERBOSITY_OPTIONS = ("--quiet", "--verbose", "--log-level")
#: The values of ``--log-level``.
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


@dataclass(frozen=True)
class Verbosity:
    """How much is printed on the standard error.

    Attributes:
        level: The lowest level of messages that are printed.
        shows_progress: Whether progress is shown, if a terminal is there to show it on.
    """

    level: str
    shows_progress: bool


def verbosity_options(default: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds the three options to a command; its function gets a :class:`Verbosity`.

    Args:
        default: The log level if none of them is given.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @click.option("-q", "--quiet", is_flag=True, help="Print warnings and errors only.")
        @click.option(
            "-v", "--verbose", is_flag=True, help="Print all details, like --log-level DEBUG."
        )
        @click.option(
            "--log-level",
            metavar="LEVEL",
            type=click.Choice(LOG_LEVELS, case_sensitive=False),
            help=f"{', '.join(LOG_LEVELS)}. Default: {default}.",
        )
        @functools.wraps(function)
        def command(
            *args: Any, quiet: bool, verbose: bool, log_level: str | None, **kwargs: Any
        ) -> Any:
            if quiet + verbose + (log_level is not None) > 1:
                raise click.UsageError("--quiet, --verbose and --log-level exclude each other.")
            chosen = "WARNING" if quiet else "DEBUG" if verbose else log_level
            level = (chosen or default).upper()
            is_quiet = chosen is not None and logging.getLevelName(level) > logging.INFO
            return function(*args, verbosity=Verbosity(level, not is_quiet), **kwargs)

        return command

    return decorate
