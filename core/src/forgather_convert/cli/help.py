"""Help texts: options in groups, examples, and where the documentation is."""

from collections.abc import Mapping, Sequence
from importlib.metadata import metadata
from typing import Any

import click

_OTHERS = "Other options"
#: The key of a command's words in the ``meta`` of its context.
WORDS = "forgather_convert.words"


def documentation_url() -> str:
    """The address of the documentation, from the metadata of the installed distribution."""
    for entry in metadata("forgather-convert").get_all("Project-URL", ()):
        label, _, url = str(entry).partition(",")
        if label.strip() == "Documentation":
            return url.strip()
    return ""


def write_documentation(formatter: click.HelpFormatter) -> None:
    """Ends a help text with the address of the documentation, if it is known."""
    if url := documentation_url():
        formatter.write_paragraph()
        formatter.write_text(f"Documentation: {url}")


class GroupedCommand(click.Command):
    """A command whose help shows its options in groups, and examples.

    Args:
        option_groups: The names of the options in each group; all others come last.
        examples: Command lines to show.
    """

    def __init__(
        self,
        *args: Any,
        option_groups: Mapping[str, Sequence[str]],
        examples: Sequence[str],
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.option_groups = option_groups
        self.examples = examples

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # Shell completion passes an unfinished command line, which click may not parse at all.
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

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Examples"):
            for example in self.examples:
                formatter.write(f"{'':>{formatter.current_indent}}{example}\n")
        write_documentation(formatter)
