"""Which ids are already in use: a new token must not get one of them."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from forgather_convert.files.json_file import read_json_object
from forgather_convert.source.tokenizer_directory import TOKENIZER_CONFIG_FILE
from forgather_convert.vocabulary.model_fields import GENERATION_CONFIG_FILE
from forgather_convert.vocabulary.requests import Role
from forgather_convert.vocabulary.tokenizer_files import ADDED_TOKENS_FILE
from forgather_convert.vocabulary.tokenizer_view import TokenizerView

#: Fields that name tokens by their ids: ``eos_token_id``, ``image_token_index``,
#: ``suppress_tokens``, ``bad_words_ids``, ``forced_decoder_ids`` ...
_ID_FIELD = re.compile(r".*(?:_ids?|_token_index|suppress_tokens)")


class IdUses:
    """What the ids of a model are used for."""

    def __init__(self, directory: Path, config: Mapping[str, Any], view: TokenizerView) -> None:
        self._fields: dict[int, set[str]] = defaultdict(set)
        generation = _read(directory, GENERATION_CONFIG_FILE)
        for token_id, name in (*_named_ids(config), *_named_ids(generation)):
            self._fields[token_id].add(name)
        self._tokens = {token_id: token for token, token_id in _listed(directory)}
        self._tokens.update(view.tokens_by_id)

    def id_conflict(self, token: str, token_id: int, roles: Iterable[Role]) -> str | None:
        """What else an id is used for than a token in its roles; ``None`` for nothing."""
        other = self._tokens.get(token_id, token)
        if other != token:
            return f"that is the id of the token '{other}'"
        fields = sorted(self._fields.get(token_id, set()) - {role.id_field for role in roles})
        return f"the model's configs use it as {', '.join(fields)}" if fields else None


def _named_ids(config: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    """The ids in a config, each with its field."""
    pending: list[tuple[str, Any]] = list(config.items())
    while pending:
        name, value = pending.pop()
        if isinstance(value, Mapping):
            pending += value.items()
        elif isinstance(value, list):
            pending += ((name, item) for item in value)
        elif type(value) is int and _ID_FIELD.fullmatch(name):
            yield value, name


def _listed(directory: Path) -> Iterator[tuple[str, int]]:
    """Tokens listed in files that the tokenizer may have been loaded without."""
    for token, token_id in _read(directory, ADDED_TOKENS_FILE).items():
        if type(token_id) is int:
            yield token, token_id
    decoder = _read(directory, TOKENIZER_CONFIG_FILE).get("added_tokens_decoder")
    for token_id, flags in decoder.items() if isinstance(decoder, dict) else ():
        if token_id.isdecimal() and isinstance(flags, dict) and "content" in flags:
            yield str(flags["content"]), int(token_id)


def _read(directory: Path, name: str) -> dict[str, Any]:
    path = directory / name
    return read_json_object(path) if path.is_file() else {}
