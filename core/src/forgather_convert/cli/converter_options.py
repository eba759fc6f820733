"""The choice of a converter: ``--converter-path``, ``--converter`` and ``--no-plugins``."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from forgather_convert.cli.parameters import DistributionParameter

#: The title of the group in a command's help, and the names of its options.
CONVERTER_GROUP = ("Converter selection", ("--converter-path", "--converter", "--no-plugins"))
CONVERTER_PATHS = click.option(
    "--converter-path",
    "converter_paths",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Directory or file to search for converters first. Can be repeated.",
)
NO_PLUGINS = click.option(
    "--no-plugins", is_flag=True, help="Do not use installed converters and extensions."
)
_DISTRIBUTION = click.option(
    "--converter",
    metavar="DIST",
    type=DistributionParameter(),
    help="Installed distribution to take the converter from, if several provide one.",
)


def converter_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the three options to a command; its function gets ``use_plugins`` for the last."""

    @CONVERTER_PATHS
    @_DISTRIBUTION
    @NO_PLUGINS
    @functools.wraps(function)
    def command(*args: Any, converter: str | None, no_plugins: bool, **kwargs: Any) -> Any:
        if converter is not None and no_plugins:
            raise click.UsageError("--converter and --no-plugins exclude each other.")
        return function(*args, converter=converter, use_plugins=not no_plugins, **kwargs)

    return command
