"""Loads an edited tokenizer and checks that it behaves as planned."""

import tempfile
from pathlib import Path
from typing import Any

from forgather_convert.errors import ConverterError, cause_of
from forgather_convert.vocabulary.change import Action, VocabularyChange
from forgather_convert.vocabulary.requests import Role
from forgather_convert.vocabulary.tokenizer_view import TokenizerView

#: Texts that must be tokenized as before: words, numbers, spaces, other scripts, code.
_SAMPLES = (
    "The quick brown fox jumps over 12 lazy dogs.",
    "  two  spaces\tand\ttabs\n\nlines",
    "Größe, naïve, 東京, привет, 🙂",
    "def f(x):\n    return {'a': x**2}",
)


def verify_tokenizer(
    directory: Path, before: TokenizerView, change: VocabularyChange, hf_config: Any
) -> None:
    """Loads the tokenizer with its edited files, without touching the source.

    Raises:
        ConverterError: It does not load, or produces other ids than planned.
    """
    if not change.writes:
        return
    written = {write.name: write.content for write in change.writes}
    with tempfile.TemporaryDirectory(prefix="forgather-") as temporary:
        for path in directory.iterdir():
            if path.is_file() and path.name not in written:
                (Path(temporary) / path.name).symlink_to(path.resolve())
        for name, content in written.items():
            (Path(temporary) / name).write_bytes(content)
        try:
            after = TokenizerView.load(Path(temporary), hf_config)
        except Exception as error:
            raise ConverterError(
                f"The tokenizer in {directory} no longer loads with the new tokens "
                f"({cause_of(error)}). Please report this."
            ) from error
    _compare(directory, before, after, change)


def _compare(
    directory: Path, before: TokenizerView, after: TokenizerView, change: VocabularyChange
) -> None:
    for token in change.tokens:
        if token.action is Action.KEPT:
            continue
        # A piece of the vocabulary remains one that texts may be split into.
        is_piece = token.role is Role.REGULAR and token.action is Action.REUSED
        subwords = (token.token_id,) if is_piece else after.subwords(token.token)
        if after.id_of(token.token) != token.token_id or subwords != (token.token_id,):
            raise ConverterError(
                f"The token '{token.token}' cannot be added to the tokenizer in {directory}: it "
                f"should get the id {token.token_id}, but is split into {list(subwords)}. "
                "Remove it from the token file."
            )
        if token.role.is_named and after.named(token.role) != token.token:
            raise ConverterError(
                f"'{token.token}' cannot become the {token.role.value} of the tokenizer in "
                f"{directory}; that remains {after.named(token.role)!r}."
            )
    changed = [token.token for token in change.tokens if token.action is not Action.KEPT]
    for sample in _SAMPLES:
        is_old = not any(token in sample for token in changed)
        if is_old and before.subwords(sample) != after.subwords(sample):
            raise ConverterError(
                f"With the new tokens, the tokenizer in {directory} would split existing text "
                f"differently: {sample!r}. Please report this."
            )
