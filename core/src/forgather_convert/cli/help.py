"""A command whose help has its options in groups."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

_OTHERS = "Other"
#: The words of a command, in the ``meta`` of its context.
WORDS = "forgather_convert.words"


class GroupedCommand(click.Command):
    """A command that shows its options under headings.

    Args:
        option_groups: The names of the options below each heading; others come last.
    """

    def __init__(
        self, *args: Any, option_groups: Mapping[str, Sequence[str]], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.option_groups = option_groups

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # Completion gets an unfinished command line, of which click may parse nothing.
        ctx.meta[WORDS] = tuple(args)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        records: dict[str, tuple[str, str]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if isinstance(parameter, click.Option) and record is not None:
                records[parameter.opts[-1]] = record
        for title, names in self.option_groups.items():
            with formatter.section(title):
                formatter.write_dl([records.pop(name) for name in names])
        with formatter.section(_OTHERS):
            formatter.write_dl(list(records.values()))
