"""What changes in a vocabulary, as a value."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from forgather_convert.source.files import WriteFile
from forgather_convert.tensors.row_init import RowInit
from forgather_convert.vocabulary.requests import Role


class Action(Enum):
    """What was done about a request."""

    ADDED = "added"
    #: The token exists; its role points to it now.
    MOVED = "moved"
    #: The token exists; it becomes special, or its rows are set anew.
    REUSED = "reused"
    #: Nothing had to be done.
    KEPT = "kept"


@dataclass(frozen=True)
class TokenChange:
    """What was done about one requested token."""

    token: str
    token_id: int
    role: Role
    action: Action
    init: str
    replaced: str | None = None


@dataclass(frozen=True)
class VocabularyChange:
    """All that an extension does to a model.

    Attributes:
        tokens: What was done about each request.
        size_before: Rows of the matrices in the source.
        size: Rows of the matrices in the destination.
        num_tokens_before: How many of the source's rows belonged to a token.
        rows: What rows become that are new or set anew.
        named_ids: The ids of named roles that change, and what they were.
        writes: The tokenizer files that change.
        is_default: Whether the user asked for none of it.
    """

    tokens: tuple[TokenChange, ...]
    size_before: int
    size: int
    num_tokens_before: int
    rows: Mapping[int, RowInit]
    named_ids: Mapping[Role, tuple[int | None, int]]
    writes: tuple[WriteFile, ...]
    is_default: bool = False

    @property
    def changes_matrices(self) -> bool:
        return bool(self.rows) or self.size != self.size_before

    @property
    def untouched_rows(self) -> tuple[int, ...]:
        """The source's rows that the destination has unchanged."""
        return tuple(row for row in range(self.size_before) if row not in self.rows)
