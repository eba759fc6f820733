"""Edits tokenizer files instead of rewriting them.

transformers 5 writes tokenizers that version 4 cannot read, and both versions drop fields that
they do not know. An edit keeps everything else, and a file that need not change keeps its bytes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgather_convert.errors import SourceError
from forgather_convert.files.json_file import read_json_object
from forgather_convert.source.files import WriteFile, encode_json
from forgather_convert.source.tokenizer_directory import SPECIAL_TOKENS_FILE, TOKENIZER_CONFIG_FILE
from forgather_convert.vocabulary.requests import Role

TOKENIZER_FILE = "tokenizer.json"
ADDED_TOKENS_FILE = "added_tokens.json"
#: The keys of the lists of unnamed special tokens, in transformers 4 and 5.
_SPECIAL_LISTS = ("additional_special_tokens", "extra_special_tokens")


@dataclass(frozen=True)
class AddedToken:
    """A token that is new to a tokenizer."""

    content: str
    token_id: int
    role: Role

    @property
    def is_special(self) -> bool:
        return self.role is not Role.REGULAR

    def flags(self) -> dict[str, Any]:
        """The flags of its matching: verbatim, anywhere, before any normalization."""
        return {
            "content": self.content,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": self.is_special,
        }


def num_ids_in_file(directory: Path) -> int | None:
    """The number of ids in ``tokenizer.json``, gaps included; ``None`` if it is unknown.

    Only a message and the rows averaged for a mean depend on it, since the file may have a format
    that this code does not know.
    """
    try:
        content = _read(directory, TOKENIZER_FILE) or {}
        vocabulary = content["model"]["vocab"]
        is_list = isinstance(vocabulary, list)
        ids = range(len(vocabulary)) if is_list else vocabulary.values()
        added = [entry["id"] for entry in content.get("added_tokens", [])]
        return int(max((*ids, *added), default=-1)) + 1
    except (SourceError, LookupError, TypeError, AttributeError, ValueError, OverflowError):
        return None


def edited_tokenizer_files(
    directory: Path,
    added: Iterable[AddedToken],
    named: Mapping[Role, str],
    replaced: Mapping[str, tuple[str, int]],
    known: Mapping[int, Mapping[str, Any]],
) -> tuple[WriteFile, ...]:
    """The files of a tokenizer that change.

    Args:
        directory: The directory of the tokenizer.
        added: The new tokens, and existing ones that become special.
        named: The named roles that change, with their tokens.
        replaced: For every BOS or EOS token that is replaced, the new token and its id; texts get
            the new one instead of the old one.
        known: Ids and flags of the tokens that were added before.
    """
    added = tuple(added)
    edits: dict[str, Any] = {}
    tokenizer = _read(directory, TOKENIZER_FILE)
    if tokenizer is not None:
        edits[TOKENIZER_FILE] = _edit_tokenizer(tokenizer, added, replaced, known)
    special = _read(directory, SPECIAL_TOKENS_FILE)
    config = _read(directory, TOKENIZER_CONFIG_FILE) or {}
    if added and tokenizer is None and "added_tokens_decoder" not in config:
        config = _with_decoder(config, special or {}, known)
    edits[TOKENIZER_CONFIG_FILE] = _edit_config(config, added, named)
    if special is not None:
        edits[SPECIAL_TOKENS_FILE] = _edit_special(special, added, named)
    flat = _read(directory, ADDED_TOKENS_FILE)
    if flat is not None:
        edits[ADDED_TOKENS_FILE] = {
            **flat,
            **{token.content: token.token_id for token in added},
        }
    return tuple(
        WriteFile(name, encode_json(content))
        for name, content in edits.items()
        if content != _read(directory, name)
    )


def _edit_tokenizer(
    content: dict[str, Any],
    added: tuple[AddedToken, ...],
    replaced: Mapping[str, tuple[str, int]],
    known: Mapping[int, Mapping[str, Any]],
) -> dict[str, Any]:
    listed = {entry["id"]: entry for entry in content.get("added_tokens", [])}
    entries = {
        # An old token that becomes special may be in the list already, as a regular one.
        **listed,
        # Tokens of another file have the ids before the new ones; ids are given in this order.
        **{
            token_id: {"id": token_id, **flags}
            for token_id, flags in known.items()
            if added and token_id not in listed and not _is_piece(content, flags["content"])
        },
        **{token.token_id: {"id": token.token_id, **token.flags()} for token in added},
    }
    edited = {**content, "added_tokens": list(entries.values())}
    if replaced and content.get("post_processor"):
        edited["post_processor"] = _edit_template(content["post_processor"], replaced)
    return edited


def _is_piece(content: Mapping[str, Any], token: str) -> bool:
    """Whether a token is in the vocabulary of pieces that texts are split into."""
    vocabulary = content.get("model", {}).get("vocab", ())
    if isinstance(vocabulary, Mapping):
        return token in vocabulary
    return any(entry[0] == token for entry in vocabulary)


def _edit_template(processor: Any, replaced: Mapping[str, tuple[str, int]]) -> Any:
    """Replaces tokens in the templates that put them around a text."""
    if isinstance(processor, list):
        return [_edit_template(item, replaced) for item in processor]
    if not isinstance(processor, dict):
        return processor
    edited = {key: _edit_template(value, replaced) for key, value in processor.items()}
    reference = processor.get("SpecialToken")
    if isinstance(reference, dict) and reference.get("id") in replaced:
        edited["SpecialToken"] = {**reference, "id": replaced[reference["id"]][0]}
    table = processor.get("special_tokens")
    if isinstance(table, dict):
        edited["special_tokens"] = {
            **{token: entry for token, entry in table.items() if token not in replaced},
            **{
                new: {"id": new, "ids": [token_id], "tokens": [new]}
                for old, (new, token_id) in replaced.items()
                if old in table
            },
        }
    return edited


def _with_decoder(
    config: dict[str, Any], special: Mapping[str, Any], known: Mapping[int, Mapping[str, Any]]
) -> dict[str, Any]:
    """A tokenizer config with a list of its added tokens.

    With the list, transformers no longer reads ``special_tokens_map.json`` and
    ``added_tokens.json``; their content must be here.
    """
    texts = {
        name: [_text(item) for item in value] if isinstance(value, list) else _text(value)
        for name, value in special.items()
    }
    decoder = {str(token_id): dict(flags) for token_id, flags in known.items()}
    return {**config, **texts, "added_tokens_decoder": decoder}


def _text(token: Any) -> Any:
    return token["content"] if isinstance(token, dict) and "content" in token else token


def _edit_config(
    content: dict[str, Any], added: tuple[AddedToken, ...], named: Mapping[Role, str]
) -> dict[str, Any]:
    edited = _edit_special(content, added, named)
    decoder = content.get("added_tokens_decoder")
    if added and decoder is not None:
        edited["added_tokens_decoder"] = {
            **decoder,
            **{str(token.token_id): token.flags() for token in added},
        }
    return edited


def _edit_special(
    content: dict[str, Any], added: tuple[AddedToken, ...], named: Mapping[Role, str]
) -> dict[str, Any]:
    edited = dict(content)
    for role, token in named.items():
        old = content.get(role.value)
        edited[role.value] = {**old, "content": token} if isinstance(old, dict) else token
    unnamed = [token.content for token in added if token.role is Role.SPECIAL]
    if unnamed:
        key = next((key for key in _SPECIAL_LISTS if isinstance(content.get(key), list)), None)
        key = key or _SPECIAL_LISTS[0]
        listed = content.get(key, [])
        texts = [_text(token) for token in listed]
        edited[key] = [*listed, *(token for token in unnamed if token not in texts)]
    return edited


def _read(directory: Path, name: str) -> dict[str, Any] | None:
    path = directory / name
    return read_json_object(path) if path.is_file() else None
