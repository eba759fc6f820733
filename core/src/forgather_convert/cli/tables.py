"""Tables on the standard output: for people, and for programs that read lines."""

import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_WIDE = 1000


def stdout_console() -> "Console":
    """A console for data. In a pipe nothing is wrapped; NO_COLOR is respected."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else _WIDE
    return Console(highlight=False, markup=False, width=width)


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
        table.add_row(*(Text(cell, (styles or {}).get(cell, "")) for cell in row))
    console = stdout_console()
    if title is not None:
        console.print(title, style="bold")
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as captured:
        console.print(table)
    # Columns are filled up with spaces, the last one too.
    for line in captured.get().splitlines():
        console.print(line.rstrip())
