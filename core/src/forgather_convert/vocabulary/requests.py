"""The user's requests for the vocabulary, as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Role(Enum):
    """The role of a token; the value is its key in a token file."""

    BOS = "bos_token"
    EOS = "eos_token"
    PAD = "pad_token"
    UNK = "unk_token"
    SPECIAL = "special_tokens"
    REGULAR = "regular_tokens"

    @property
    def is_named(self) -> bool:
        """Whether the tokenizer has one token of this role, with a name of its own."""
        return self not in (Role.SPECIAL, Role.REGULAR)

    @property
    def id_field(self) -> str | None:
        """The field for its id in model configs, if there is one."""
        return f"{self.value}_id" if self in (Role.BOS, Role.EOS, Role.PAD) else None


class InitKind(Enum):
    """How a token's rows in the embedding and the head are initialized."""

    ZERO = "zero"
    MEAN = "mean"
    SUBWORDS = "subwords"
    COPY = "copy"
    AVERAGE_OF = "average_of"


@dataclass(frozen=True)
class Init:
    """How a token's rows are initialized.

    Attributes:
        kind: The rule.
        tokens: The tokens it refers to: one for ``copy``, several for ``average_of``.
    """

    kind: InitKind
    tokens: tuple[str, ...] = ()

    def describe(self) -> str:
        """A short form: ``mean``, ``copy <s>``."""
        return " ".join((self.kind.value, *self.tokens))

    @property
    def start(self) -> str:
        """What the rows start as, in words."""
        words = {InitKind.MEAN: "the mean of all tokens", InitKind.ZERO: "zeros"}
        return words.get(self.kind, self.describe())


MEAN = Init(InitKind.MEAN)
ZERO = Init(InitKind.ZERO)
#: How a new token's rows are initialized by default.
DEFAULT_INITS: Mapping[Role, Init] = {role: ZERO if role is Role.PAD else MEAN for role in Role}


@dataclass(frozen=True)
class TokenRequest:
    """A token to have in the vocabulary.

    Attributes:
        token: Its text.
        role: The role to use it in.
        init: How to initialize its rows; ``None`` for the default, which does not change the rows
            of an existing token.
        if_missing: Do nothing if the role already has a token, or the token exists.
        origin: Where it was requested, for messages.
        is_default: Whether it is added by default; then it must not change a row in use.
    """

    token: str
    role: Role
    init: Init | None = None
    if_missing: bool = False
    origin: str = ""
    is_default: bool = False


#: The token added to a tokenizer without a padding token, unless the user decides otherwise.
DEFAULT_PAD = TokenRequest(
    "[PAD]", Role.PAD, if_missing=True, origin="the default tokens", is_default=True
)
