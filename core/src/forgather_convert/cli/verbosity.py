"""How much a command says: ``-q``, ``-v`` and ``--log-level``."""

import functools
from collections.abc import Callable
from typing import Any

import click

#: The names of the three.
VERBOSITY_OPTIONS = ("--quiet", "--verbose", "--log-level")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def verbosity_options(default: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Gives a command the three options; its function gets the level that they mean, ``level``.

    Args:
        default: The level where none is given.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @click.option("-q", "--quiet", is_flag=True, help="Warnings and errors only.")
        @click.option("-v", "--verbose", is_flag=True, help="All details, as --log-level DEBUG.")
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
            chosen = "WARNING" if quiet else "DEBUG" if verbose else log_level or default
            return function(*args, level=chosen.upper(), **kwargs)

        return command

    return decorate
