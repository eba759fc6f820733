"""Tables on the standard output: for people, and for programs that read lines."""

import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import click

from forgather_convert.source.plain_text import indented, one_line, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_WIDE = 1000


def stdout_console() -> "Console":
    """A console for data. In a pipe nothing is wrapped; NO_COLOR is respected."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else _WIDE
    return Console(highlight=False, markup=False, emoji=False, width=width)


def print_line(text: str = "") -> None:
    """Prints a line of data; what is too long is wrapped on a terminal."""
    stdout_console().print(indented(printable(text)))


def print_table(
    columns: Iterable[str],
    rows: Iterable[Iterable[str]],
    title: str | None = None,
    styles: Mapping[str, str] | None = None,
) -> None:
    """Prints rows below their headings.

    Args:
        columns: The headings.
        rows: The cells of each row.
        title: A line above the table.
        styles: The style of cells with certain texts.
    """
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell), (styles or {}).get(cell, "")) for cell in row))
    if title is not None:
        stdout_console().print(printable(title), style="bold")
    _print_rows(table)


def _print_rows(table: "Table") -> None:
    console = stdout_console()
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as captured:
        console.print(table)
    # Columns are filled up with spaces, the last one too.
    for line in captured.get().splitlines():
        console.print(line.rstrip())


def print_labelled(rows: Iterable[tuple[str, str]]) -> None:
    """Prints texts beside their labels, a line each.

    On a terminal, what is too long goes on below itself; no word is divided.
    """
    rows = [(one_line(label), one_line(text)) for label, text in rows]
    indent = " " * (max((len(label) for label, _ in rows), default=0) + 2)
    for label, text in rows:
        line = label.ljust(len(indent)) + text
        if sys.stdout.isatty():
            line = textwrap.fill(
                line,
                shutil.get_terminal_size().columns,
                subsequent_indent=indent,
                break_long_words=False,
                break_on_hyphens=False,
            )
        click.echo(line)
