"""What a row of a vocabulary matrix becomes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RowInit:
    """What a row of a vocabulary matrix becomes.

    Attributes:
        kind: ``"zero"``; ``"mean"``, of all rows that tokens had; ``"rows"``, the average of
            the given ones.
        rows: The rows to average; a single one is copied bit for bit.
    """

    kind: str
    rows: tuple[int, ...] = ()
