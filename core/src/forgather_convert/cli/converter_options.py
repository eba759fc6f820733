"""Which converter a command uses: ``--converter-path``, ``--converter`` and ``--no-plugins``."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from forgather_convert.cli.parameters import DistributionParameter

#: The heading of the three in a command's help, and their names.
CONVERTER_GROUP = ("Which converter is used", ("--converter-path", "--converter", "--no-plugins"))
CONVERTER_PATHS = click.option(
    "--converter-path",
    "converter_paths",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Directory or file to search for converters first. Can be given several times.",
)
NO_PLUGINS = click.option(
    "--no-plugins", is_flag=True, help="Use no converter of installed distributions."
)
_DISTRIBUTION = click.option(
    "--converter",
    metavar="DIST",
    type=DistributionParameter(),
    help="Installed distribution to take the converter from, where several have one.",
)


def converter_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command the three; its function gets them by these names."""

    @CONVERTER_PATHS
    @_DISTRIBUTION
    @NO_PLUGINS
    @functools.wraps(function)
    def command(*args: Any, converter: str | None, no_plugins: bool, **kwargs: Any) -> Any:
        if converter is not None and no_plugins:
            raise click.UsageError("--converter and --no-plugins exclude each other.")
        return function(*args, converter=converter, no_plugins=no_plugins, **kwargs)

    return command
