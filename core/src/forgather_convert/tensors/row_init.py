"""The initialization of a row of a vocabulary matrix."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RowInit:
    """The initialization of a row of a vocabulary matrix.

    Attributes:
        kind: ``"zero"``; ``"mean"``, the average of all rows that belonged to tokens; ``"rows"``,
            the average of the given ones.
        rows: The rows to average; a single one is copied bit for bit.
    """

    kind: str
    rows: tuple[int, ...] = ()
