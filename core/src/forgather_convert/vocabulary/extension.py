"""Plans the extension of a vocabulary."""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgather_convert.errors import OptionError, SourceError, first_line
from forgather_convert.source.config_file import SourceConfig
from forgather_convert.source.tokenizer_directory import has_tokenizer, names_padding_token
from forgather_convert.tensors.row_init import RowInit
from forgather_convert.vocabulary.change import Action, TokenChange, VocabularyChange
from forgather_convert.vocabulary.id_uses import IdUses
from forgather_convert.vocabulary.inits import inits_of, row_init
from forgather_convert.vocabulary.requests import (
    DEFAULT_PAD,
    Init,
    Role,
    TokenRequest,
)
from forgather_convert.vocabulary.tokenizer_check import verify_tokenizer
from forgather_convert.vocabulary.tokenizer_files import (
    AddedToken,
    edited_tokenizer_files,
    num_ids_in_file,
)
from forgather_convert.vocabulary.tokenizer_view import TokenizerView

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TokenizedModel:
    """A model with its tokenizer.

    Attributes:
        directory: The directory of the tokenizer.
        config: The model's config.
        hf_config: Its Hugging Face config object.
    """

    directory: Path
    config: SourceConfig
    hf_config: Any


def plan_vocabulary(
    model: TokenizedModel,
    requests: tuple[TokenRequest, ...] | None,
    adds_defaults: bool,
    multiple: int,
) -> VocabularyChange | None:
    """Plans all changes of a vocabulary; ``None`` if there are none.

    Args:
        model: The model.
        requests: The tokens that the user requests; ``None`` without a token file.
        adds_defaults: Whether to add a missing padding token without a token file.
        multiple: The number of rows must be a multiple of this.

    Raises:
        SourceError: Tokens are requested, but the tokenizer cannot be loaded.
        OptionError: A request refers to a token that does not exist, or would get an id that is
            already in use.
    """
    directory, config, hf_config = model.directory, model.config, model.hf_config
    view = None
    if requests:
        view = _load(directory, hf_config)
    elif requests is None and adds_defaults:
        view = _load_without_padding(directory, hf_config)
        requests = () if view is None else (DEFAULT_PAD,)
    num_ids = num_ids_in_file(directory) if view is None else view.size
    _log_sizes(num_ids, config.vocab_size)
    if view is not None and requests:
        ids = _new_ids(directory, view, config, requests)
        if ids is not None:
            change = _plan(model, view, requests, ids, multiple)
            verify_tokenizer(directory, view, change, hf_config)
            return change
    return _plan_size(config.vocab_size, num_ids, multiple)


def _plan_size(num_rows: int, num_ids: int | None, multiple: int) -> VocabularyChange | None:
    """A change that adds only rows, without tokens; ``None`` if there are enough."""
    size = _padded(num_rows, multiple)
    if size == num_rows:
        return None
    rows = {row: RowInit("mean") for row in range(num_rows, size)}
    num_tokens = min(num_ids or num_rows, num_rows)
    return VocabularyChange((), num_rows, size, num_tokens, rows, {}, ())


def _new_ids(
    directory: Path,
    view: TokenizerView,
    config: SourceConfig,
    requests: tuple[TokenRequest, ...],
) -> dict[str, int] | None:
    """The ids of the new tokens; ``None`` if the default padding token cannot have the next id.

    Raises:
        OptionError: The id of a new token already belongs to another token, or the model's
            configs use it for another purpose.
    """
    new: dict[str, TokenRequest] = {}
    for request in requests:
        if view.id_of(request.token) is None and not _is_kept(request, view):
            new.setdefault(request.token, request)
    ids = view.ids_after_adding(new.values())
    uses = IdUses(directory, config, view)
    for token, token_id in ids.items():
        roles = {request.role for request in requests if request.token == token}
        conflict = uses.id_conflict(token, token_id, roles)
        if conflict is None:
            continue
        problem = f"'{token}' would get the id {token_id}, but {conflict}"
        if not new[token].is_default:
            raise OptionError(
                f"{new[token].origin}: {problem}. Fix the source: add the id's token to the "
                "tokenizer's files, or correct the field."
            )
        logger.warning(
            "No padding token was added: %s. Name one with --add-tokens, or fix the source",
            problem,
        )
        return None
    return ids


def _log_sizes(num_ids: int | None, num_rows: int) -> None:
    if num_ids is None or num_ids == num_rows:
        return
    if num_ids < num_rows:
        logger.info(
            "The model has %d vocabulary rows for the tokenizer's %d tokens; all rows are kept",
            num_rows,
            num_ids,
        )
    else:
        logger.warning(
            "The tokenizer has %d tokens, but the model has only %d vocabulary rows",
            num_ids,
            num_rows,
        )


def _load(directory: Path, hf_config: Any) -> TokenizerView:
    if not has_tokenizer(directory):
        raise SourceError(
            f"Tokens cannot be added: {directory} has no tokenizer. Add the tokenizer's files, or "
            "leave out --add-tokens."
        )
    try:
        return TokenizerView.load_to_extend(directory, hf_config)
    except Exception as error:
        raise SourceError(
            f"Tokens cannot be added: the tokenizer in {directory} cannot be loaded by the "
            f"installed transformers ({type(error).__name__}: {first_line(error)}). Install the "
            "version that wrote it, or leave out --add-tokens."
        ) from error


def _load_without_padding(directory: Path, hf_config: Any) -> TokenizerView | None:
    """Loads a tokenizer if it has no padding token."""
    if not has_tokenizer(directory) or names_padding_token(directory):
        return None
    try:
        view = TokenizerView.load_to_extend(directory, hf_config)
    except Exception as error:
        # Tokenizer classes raise exceptions of any type. The model converts without the token.
        logger.warning(
            "No padding token was added: the tokenizer in %s cannot be loaded (%s: %s)",
            directory,
            type(error).__name__,
            first_line(error),
        )
        return None
    if view.named(Role.PAD) is not None:
        return None
    reserved = sorted(filter(_looks_like_padding, view.tokens))
    if reserved:
        logger.info(
            "The tokenizer has no padding token, but its vocabulary contains %s. To use one, name "
            "it as pad_token in an --add-tokens file",
            ", ".join(repr(token) for token in reserved),
        )
    return view


def _looks_like_padding(token: str) -> bool:
    is_bracketed = token[:1] in ("<", "[") and token[-1:] in (">", "]")
    return is_bracketed and "pad" in token.lower() and token != DEFAULT_PAD.token


@dataclass(frozen=True)
class _Additions:
    """What requests add.

    Attributes:
        requests: The requests that are not fulfilled yet.
        ids: The ids of new tokens.
        spare: The new tokens for which the model has unused rows.
        inits: How the rows of tokens start.
    """

    requests: Sequence[TokenRequest]
    ids: Mapping[str, int]
    spare: Collection[str]
    inits: Mapping[str, Init]


def _plan(
    model: TokenizedModel,
    view: TokenizerView,
    requests: tuple[TokenRequest, ...],
    ids: Mapping[str, int],
    multiple: int,
) -> VocabularyChange:
    config, size_before = model.config, model.config.vocab_size
    spare = {token for token, token_id in ids.items() if token_id < size_before}
    active = [request for request in requests if not _is_kept(request, view)]
    # The config still names a padding token that the tokenizer has lost.
    in_use = {token for token in spare if ids[token] == config.get("pad_token_id")}
    inits = inits_of(active, ids, in_use)
    additions = _Additions(active, ids, spare, inits)
    changes = tuple(_change(request, view, additions) for request in requests)
    for request in active:
        if request.is_default and request.token in spare - in_use:
            logger.info(
                "'%s' gets the id %d, for which the model has an unused row; the row is set to "
                "zeros. To keep it, use --skip-default-tokens",
                request.token,
                ids[request.token],
            )

    num_tokens = min(view.size, size_before)
    needed = max((size_before, view.size, *(token_id + 1 for token_id in ids.values())))
    size = _padded(needed, multiple)
    rows = {row: RowInit("mean") for row in range(size_before, size)}
    for request in active:
        init = inits.get(request.token)
        if init is not None:
            token_id = ids.get(request.token, view.id_of(request.token))
            assert token_id is not None
            rows[token_id] = row_init(init, request, view, size_before)

    named = {
        change.role: change
        for change in changes
        if change.role.is_named and change.action in (Action.ADDED, Action.MOVED)
    }
    with_default_init = {request.role for request in active if request.init is None}
    for change in named.values():
        is_added = change.action is Action.ADDED and change.replaced is not None
        init = inits.get(change.token)
        if is_added and init is not None and change.role in with_default_init:
            logger.info(
                "%s is now '%s' instead of '%s'; its embedding starts as %s. To start from the "
                'old token\'s embedding, use init: {copy: "%s"}',
                change.role.value,
                change.token,
                change.replaced,
                init.start,
                change.replaced,
            )
    writes = edited_tokenizer_files(
        model.directory,
        [
            AddedToken(change.token, change.token_id, change.role)
            for change in {change.token: change for change in changes}.values()
            if _is_written(change, view)
        ],
        {role: change.token for role, change in named.items()},
        {
            change.replaced: (change.token, change.token_id)
            for role, change in named.items()
            if role in (Role.BOS, Role.EOS) and change.replaced is not None
        },
        view.added_tokens(),
    )
    return VocabularyChange(
        tokens=changes,
        size_before=size_before,
        size=size,
        num_tokens_before=num_tokens,
        rows=rows,
        named_ids=_named_ids(requests, changes, view),
        writes=writes,
        is_default=multiple == 1 and all(request.is_default for request in requests),
    )


def _is_kept(request: TokenRequest, view: TokenizerView) -> bool:
    """Whether a request is already fulfilled."""
    exists = view.id_of(request.token) is not None
    if not request.role.is_named:
        is_done = request.role is Role.REGULAR or view.is_special(request.token)
        return exists and (request.if_missing or (is_done and request.init is None))
    current = view.named(request.role)
    if request.if_missing and current is not None:
        return True
    return exists and current == request.token and request.init is None


def _change(request: TokenRequest, view: TokenizerView, additions: _Additions) -> TokenChange:
    ids = additions.ids
    current = view.named(request.role) if request.role.is_named else None
    if request not in additions.requests:
        token = current if current is not None and request.if_missing else request.token
        token_id = view.id_of(token)
        return TokenChange(
            token, -1 if token_id is None else token_id, request.role, Action.KEPT, "unchanged"
        )
    init = additions.inits.get(request.token)
    text = "unchanged" if init is None else init.describe()
    if request.token in additions.spare:
        text += " (spare row)"
    replaced = current if current != request.token else None
    if request.token in ids:
        return TokenChange(
            request.token, ids[request.token], request.role, Action.ADDED, text, replaced
        )
    token_id = view.id_of(request.token)
    assert token_id is not None
    is_moved = request.role.is_named and current != request.token
    action = Action.MOVED if is_moved else Action.REUSED
    return TokenChange(request.token, token_id, request.role, action, text, replaced)


def _is_written(change: TokenChange, view: TokenizerView) -> bool:
    """Whether a token must be added to the tokenizer's lists of added tokens."""
    if change.action is Action.ADDED:
        return True
    becomes_special = change.role is Role.SPECIAL and change.action is Action.REUSED
    return becomes_special and not view.is_special(change.token)


def _named_ids(
    requests: Iterable[TokenRequest], changes: Iterable[TokenChange], view: TokenizerView
) -> dict[Role, tuple[int | None, int]]:
    """The old and the new ids of the named roles, for the model's configs."""
    ids = {}
    for request, change in zip(requests, changes, strict=True):
        # Even if the tokenizer already has the token: the model's config may lack it.
        is_kept = change.action is Action.KEPT and request.if_missing
        if request.role.is_named and not is_kept:
            old = view.named(request.role)
            ids[request.role] = (None if old is None else view.id_of(old), change.token_id)
    return ids


def _padded(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
