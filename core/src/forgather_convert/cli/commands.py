"""The commands of ``forgather``: core's and those of extensions."""

import logging
from collections.abc import Sequence
from typing import Any

import click

from forgather_convert.cli.convert import convert_command
from forgather_convert.cli.converters import converters_group
from forgather_convert.cli.framework import find_framework
from forgather_convert.cli.help import write_documentation
from forgather_convert.cli.inspect import inspect_command
from forgather_convert.cli.verify import verify_command
from forgather_convert.discovery.extensions import find_extensions, load_extension
from forgather_convert.discovery.found import PluginCandidate, Status
from forgather_convert.errors import ConverterError
from forgather_convert.families.extensions import ExtensionCalls
from forgather_convert.families.hookspecs import hookimpl

logger = logging.getLogger(__name__)


class CoreCommands:
    """The built-in commands."""

    @hookimpl
    def forgather_commands(self, group: click.Group) -> None:
        group.add_command(convert_command)
        group.add_command(inspect_command)
        group.add_command(verify_command)
        group.add_command(converters_group)


class ForgatherGroup(click.Group):
    """A group whose commands are registered through the hook ``forgather_commands``.

    Extensions are imported only for the help and for a command that core does not have, so that
    core's own commands do not wait for them. If the Forgather framework is installed, the help
    ends with the framework's; :meth:`owns` tells which command lines are not handed over to it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        ExtensionCalls({"core": CoreCommands()}, ()).forgather_commands(self)
        self._has_extensions = False

    def owns(self, arguments: Sequence[str]) -> bool:
        """Whether a command line begins with a command or an option of this group, or is empty."""
        context = click.Context(self, **self.context_settings)
        options = {name for option in self.get_params(context) for name in option.opts}
        return (
            not arguments
            or arguments[0] in options
            or self.get_command(context, arguments[0]) is not None
        )

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Example"):
            formatter.write("  forgather convert path/to/hf_model path/to/fg_model\n")
        write_documentation(formatter)

    def get_help(self, ctx: click.Context) -> str:
        own = super().get_help(ctx)
        framework = find_framework()
        if framework is None:
            return own
        return (
            f"{own}\n\nAll other commands are handed over to the Forgather framework "
            f"{framework.version}. Its help:\n\n{framework.help()}"
        )

    def list_commands(self, ctx: click.Context) -> list[str]:
        self._add_extensions()
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.commands:
            self._add_extensions()
        return super().get_command(ctx, cmd_name)

    def _add_extensions(self) -> None:
        """Adds the commands of extensions, with a warning for each that cannot be imported."""
        if self._has_extensions:
            return
        self._has_extensions = True
        for candidate in find_extensions():
            if candidate.status is not Status.DISABLED:
                own = dict(self.commands)
                self._add(candidate)
                # An extension may add commands, but not replace any.
                self.commands.update(own)

    def _add(self, candidate: PluginCandidate) -> None:
        try:
            ExtensionCalls({}, [load_extension(candidate)]).forgather_commands(self)
        except ConverterError as error:
            logger.warning("The commands of %s are not available. %s", candidate.place, error)
