"""A tokenizer as transformers loads it: its vocabulary, and the ids that new tokens would get."""

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from forgather_convert.source.tokenizer_directory import load_tokenizer
from forgather_convert.vocabulary.requests import Role, TokenRequest

_FLAGS = ("content", "single_word", "lstrip", "rstrip", "normalized", "special")


class TokenizerView:
    """Answers questions about a directory's tokenizer.

    Args:
        tokenizer: The directory's tokenizer, loaded by ``AutoTokenizer``.
        trial: A copy of it, to which tokens may be added.
    """

    def __init__(self, tokenizer: Any, trial: Any = None) -> None:
        self._tokenizer = tokenizer
        self._trial = trial
        self._ids: Mapping[str, int] = tokenizer.get_vocab()

    @classmethod
    def load(cls, directory: Path, hf_config: Any) -> "TokenizerView":
        """Loads a tokenizer; see :func:`load_tokenizer`."""
        return cls(load_tokenizer(directory, hf_config))

    @classmethod
    def load_to_extend(cls, directory: Path, hf_config: Any) -> "TokenizerView":
        """Loads a tokenizer to which tokens can be added.

        Raises:
            Exception: Tokenizer classes raise exceptions of many types, also when a damaged
                tokenizer is copied.
        """
        tokenizer = load_tokenizer(directory, hf_config)
        return cls(tokenizer, copy.deepcopy(tokenizer))

    @property
    def size(self) -> int:
        """The number of ids that the tokenizer can produce, gaps included."""
        return max(self._ids.values(), default=-1) + 1

    @property
    def tokens(self) -> Iterable[str]:
        return self._ids

    @property
    def tokens_by_id(self) -> Mapping[int, str]:
        return {token_id: token for token, token_id in self._ids.items()}

    def id_of(self, token: str) -> int | None:
        """The id of a token, if it exists."""
        return self._ids.get(token)

    def named(self, role: Role) -> str | None:
        """The token of a named role."""
        token = getattr(self._tokenizer, role.value, None)
        return None if token is None else str(token)

    def is_special(self, token: str) -> bool:
        """Whether a token is never split and can be skipped in decoded text."""
        return token in self._tokenizer.all_special_tokens or any(
            added.special and added.content == token
            for added in self._tokenizer.added_tokens_decoder.values()
        )

    def added_tokens(self) -> dict[int, dict[str, Any]]:
        """The ids and flags of all tokens that are matched before a text is split."""
        return {
            token_id: {name: getattr(token, name) for name in _FLAGS}
            for token_id, token in sorted(self._tokenizer.added_tokens_decoder.items())
        }

    def subwords(self, text: str) -> tuple[int, ...]:
        """The ids that a text is split into now, without special tokens around it."""
        ids = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return tuple(int(token) for token in ids)

    def ids_after_adding(self, requests: Iterable[TokenRequest]) -> dict[str, int]:
        """The ids that new tokens would get, in the given order; for a view loaded to extend."""
        from transformers import AddedToken

        tokenizer = self._trial
        ids = {}
        for request in requests:
            is_special = request.role is not Role.REGULAR
            tokenizer.add_tokens(
                [AddedToken(request.token, special=is_special, normalized=False)],
                special_tokens=is_special,
            )
            ids[request.token] = int(tokenizer.convert_tokens_to_ids(request.token))
        return ids
