"""What happens to a tensor's bytes on their way."""

from collections.abc import Mapping
from dataclasses import dataclass

from forgather_convert.vocabulary.row_init import RowInit


@dataclass(frozen=True)
class Move:
    """The bytes stay as they are."""

    def describe(self) -> str:
        return "move"


@dataclass(frozen=True)
class Cast:
    """Every element is rounded to another dtype."""

    dtype: str

    def describe(self) -> str:
        return f"cast to {self.dtype}"


@dataclass(frozen=True)
class Literal:
    """Bytes that the plan itself holds."""

    data: bytes

    def describe(self) -> str:
        return "restore"


@dataclass(frozen=True)
class ResizeRows:
    """A vocabulary matrix gets more rows, or some of its rows are set anew.

    Attributes:
        size: The new number of rows.
        num_tokens: How many of the old rows belong to tokens.
        rows: What rows become.
    """

    size: int
    num_tokens: int
    rows: Mapping[int, RowInit]

    def describe(self) -> str:
        return f"resize to {self.size} rows, set {len(self.rows)}"


Operation = Move | Cast | Literal | ResizeRows
