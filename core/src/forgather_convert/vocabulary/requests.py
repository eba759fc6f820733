"""What a user asks of the vocabulary, as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Role(Enum):
    """What a token is to the tokenizer; the value is its key in a token file."""

    BOS = "bos_token"
    EOS = "eos_token"
    PAD = "pad_token"
    UNK = "unk_token"
    SPECIAL = "special_tokens"
    REGULAR = "regular_tokens"

    @property
    def is_named(self) -> bool:
        """Whether the tokenizer points to one token of this role."""
        return self not in (Role.SPECIAL, Role.REGULAR)

    @property
    def id_field(self) -> str | None:
        """The field for its id in model configs, if there is one."""
        return f"{self.value}_id" if self in (Role.BOS, Role.EOS, Role.PAD) else None


class InitKind(Enum):
    """How a token's rows in the embedding and the head begin."""

    ZERO = "zero"
    MEAN = "mean"
    SUBWORDS = "subwords"
    COPY = "copy"
    AVERAGE_OF = "average_of"


@dataclass(frozen=True)
class Init:
    """How a token's rows begin.

    Attributes:
        kind: The rule.
        tokens: The tokens it refers to: one for ``copy``, several for ``average_of``.
    """

    kind: InitKind
    tokens: tuple[str, ...] = ()

    def describe(self) -> str:
        """As it would be written: ``mean``, ``copy <s>``."""
        return " ".join((self.kind.value, *self.tokens))


MEAN = Init(InitKind.MEAN)
ZERO = Init(InitKind.ZERO)
#: What a new token's rows are if the file does not say.
DEFAULT_INITS: Mapping[Role, Init] = {role: ZERO if role is Role.PAD else MEAN for role in Role}


@dataclass(frozen=True)
class TokenRequest:
    """A token that shall be in the vocabulary.

    Attributes:
        token: Its text.
        role: What it shall be.
        init: How its rows shall begin; ``None`` for the default, which leaves the rows of an
            existing token alone.
        if_missing: Do nothing where the role is filled, or the token exists.
        origin: Where this was asked for, for messages.
        is_default: Whether nobody asked for it; then it must not change a row that is there.
    """

    token: str
    role: Role
    init: Init | None = None
    if_missing: bool = False
    origin: str = ""
    is_default: bool = False


#: What a tokenizer without a padding token gets, unless the user decides otherwise.
DEFAULT_PAD = TokenRequest(
    "[PAD]", Role.PAD, if_missing=True, origin="the default tokens", is_default=True
)
