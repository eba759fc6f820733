"""The changes of a vocabulary, as a value."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from forgather_convert.source.files import WriteFile
from forgather_convert.tensors.row_init import RowInit
from forgather_convert.vocabulary.requests import Role


class Action(Enum):
    """What was done for a requested token."""

    ADDED = "added"
    #: The token existed; its role now points to it.
    MOVED = "moved"
    #: The token existed; it becomes special, or its rows are initialized again.
    REUSED = "reused"
    #: Nothing had to be done.
    KEPT = "kept"


@dataclass(frozen=True)
class TokenChange:
    """What was done for one requested token."""

    token: str
    token_id: int
    role: Role
    action: Action
    init: str
    replaced: str | None = None


@dataclass(frozen=True)
class VocabularyChange:
    """Everything that an extension changes in a model.

    Attributes:
        tokens: What was done for each request.
        size_before: Rows of the matrices in the source.
        size: Rows of the matrices in the destination.
        num_tokens_before: How many of the source's rows belonged to a token.
        rows: How new or reset rows are initialized, by row.
        named_ids: The old and the new id of each named role that changes.
        writes: The tokenizer files that change.
        is_default: Whether the user requested none of it.
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
        """The rows that are the same in source and destination."""
        return tuple(row for row in range(self.size_before) if row not in self.rows)
