"""Tables, for people and for programs that read lines."""

import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forgather_convert.cli.console import messages_console
from forgather_convert.files.plain_text import indented, one_line, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

#: The styles of what agrees and of what does not.
GOOD, BAD = "green", "bold red"
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


def print_line(text: str = "", style: str = "") -> None:
    """Prints a line of data, which is wrapped on a terminal."""
    stdout_console().print(indented(printable(text)), style=style)


def print_table(
    columns: Iterable[str],
    rows: Iterable[Iterable[str]],
    title: str | None = None,
    styles: Mapping[str, str] | None = None,
) -> None:
    """Prints rows below their headings, as data."""
    _print(stdout_console(), tuple(columns), [tuple(row) for row in rows], title, styles or {})


def print_message_table(
    columns: Iterable[str], rows: Iterable[Iterable[str]], title: str, console: "Console | None"
) -> None:
    """Prints rows among the messages.

    Args:
        columns: The headings.
        rows: The cells of each row.
        title: A line above the table.
        console: The console of the messages, if they go to a terminal.
    """
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
        # rich pads every column with spaces, even the last.
        for line in captured.get().splitlines():
            console.print(line.rstrip(), soft_wrap=True)
    elif console.measure(table, options=unlimited).minimum <= console.width:
        console.print(table)
    else:
        # The table does not fit without breaking names: print a list.
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


@dataclass(frozen=True)
class Labelled:
    """A text with a label before it.

    Attributes:
        label: The label; empty if it is that of the line above.
        text: The text.
        style: The text's style on a terminal.
    """

    label: str
    text: str
    style: str = ""


def print_labelled(rows: Iterable[Labelled]) -> None:
    """Prints texts beside their labels, one line each.

    On a terminal, long texts are wrapped between words, below their beginning.
    """
    rows = [Labelled(one_line(row.label), one_line(row.text), row.style) for row in rows]
    from rich.text import Text

    indent = " " * (max((len(row.label) for row in rows), default=0) + 2)
    console = stdout_console()
    for row in rows:
        line = row.label.ljust(len(indent)) + row.text
        if sys.stdout.isatty():
            line = textwrap.fill(
                line,
                shutil.get_terminal_size().columns,
                subsequent_indent=indent,
                break_long_words=False,
                break_on_hyphens=False,
            )
        text = Text(line)
        text.stylize(row.style, len(indent))
        console.print(text, soft_wrap=True)
