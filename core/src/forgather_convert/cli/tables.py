"""Tables: for people, and for programs that read lines."""

import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from forgather_convert.cli.console import messages_console
from forgather_convert.files.plain_text import indented, one_line, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_WIDE = 1000


def stdout_console() -> "Console":
    """A console for data. In a pipe nothing is wrapped; NO_COLOR is respected."""
    from rich.console import Console

    is_terminal = sys.stdout.isatty()
    return Console(
        highlight=False,
        markup=False,
        emoji=False,
        width=None if is_terminal else _WIDE,
        force_terminal=is_terminal,
    )


def print_line(text: str = "") -> None:
    """Prints a line of data; what is too long is wrapped on a terminal."""
    stdout_console().print(indented(printable(text)))


def print_table(
    columns: Iterable[str],
    rows: Iterable[Iterable[str]],
    title: str | None = None,
    styles: Mapping[str, str] | None = None,
) -> None:
    """Prints rows below their headings, as data.

    Args:
        columns: The headings.
        rows: The cells of each row.
        title: A line above the table.
        styles: The style of cells with certain texts.
    """
    _print(stdout_console(), tuple(columns), [tuple(row) for row in rows], title, styles or {})


def print_message_table(
    columns: Iterable[str], rows: Iterable[Iterable[str]], title: str, console: "Console | None"
) -> None:
    """Prints rows among the messages; ``console`` is theirs, if they go to a terminal."""
    console = console or messages_console(width=_WIDE)
    _print(console, tuple(columns), [tuple(row) for row in rows], title, {})


def _print(
    console: "Console",
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    title: str | None,
    styles: Mapping[str, str],
) -> None:
    if title is not None:
        console.print(printable(title), style="bold")
    table = _table(columns, rows, styles)
    unlimited = console.options.update(max_width=_WIDE)
    if not console.is_terminal:
        with console.capture() as captured:
            console.print(table)
        # Columns are filled up with spaces, the last one too.
        for line in captured.get().splitlines():
            console.print(line.rstrip(), soft_wrap=True)
    elif console.measure(table, options=unlimited).minimum <= console.width:
        console.print(table)
    else:
        # A name would be broken in the middle.
        for row in rows:
            for column, cell in zip(columns, row, strict=True):
                if not cell:
                    continue
                text = f"{column}: {printable(cell)}" if column else printable(cell)
                console.print(text, style=styles.get(cell), soft_wrap=True)
            console.print()


def _table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], styles: Mapping[str, str]
) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell), styles.get(cell, "")) for cell in row))
    return table


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
