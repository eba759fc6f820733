"""How the rows of new tokens are initialized: as requested, or by the default of the role."""

from collections.abc import Container, Iterable

from forgather_convert.errors import OptionError
from forgather_convert.tensors.row_init import RowInit
from forgather_convert.vocabulary.requests import (
    DEFAULT_INITS,
    Init,
    InitKind,
    TokenRequest,
)
from forgather_convert.vocabulary.tokenizer_view import TokenizerView


def inits_of(
    requests: Iterable[TokenRequest], new: Container[str], in_use: Container[str]
) -> dict[str, Init]:
    """The inits of tokens; if two roles share a new token, the first role's default applies.

    The default padding token does not change a row that the model already uses for it, and an
    existing token that was requested with ``if_missing`` keeps its row.
    """
    inits: dict[str, Init] = {}
    for request in requests:
        if request.if_missing and request.token not in new:
            continue
        if request.init is not None:
            inits[request.token] = request.init
        elif request.token in new and not (request.is_default and request.token in in_use):
            inits.setdefault(request.token, DEFAULT_INITS[request.role])
    return inits


def row_init(init: Init, request: TokenRequest, view: TokenizerView, num_rows: int) -> RowInit:
    """The initialization of a token's row.

    Raises:
        OptionError: The init refers to a token or a row that does not exist.
    """
    if init.kind in (InitKind.ZERO, InitKind.MEAN):
        return RowInit(init.kind.value)
    if init.kind is InitKind.SUBWORDS:
        ids = view.subwords(request.token)
        if not ids:
            raise OptionError(
                f"{request.origin}: the tokenizer splits '{request.token}' into no subwords. "
                "Choose another init."
            )
    else:
        ids = tuple(_existing_id(token, request, view) for token in init.tokens)
    without_row = [token_id for token_id in ids if token_id >= num_rows]
    if without_row:
        raise OptionError(
            f"{request.origin}: 'init' refers to the ids {without_row}, but the model has only "
            f"{num_rows} vocabulary rows. Choose another init."
        )
    return RowInit("rows", ids)


def _existing_id(token: str, request: TokenRequest, view: TokenizerView) -> int:
    token_id = view.id_of(token)
    if token_id is None:
        raise OptionError(
            f"{request.origin}: 'init' refers to the token '{token}', which is not in the "
            "vocabulary. Name one that the source's tokenizer has."
        )
    return token_id
