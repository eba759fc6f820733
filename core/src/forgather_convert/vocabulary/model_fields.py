"""Updates config and generation config with the ids and the size of a changed vocabulary."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forgather_convert.files.json_file import read_json_object
from forgather_convert.source.config_file import SourceConfig
from forgather_convert.source.files import WriteFile, encode_json
from forgather_convert.vocabulary.change import VocabularyChange

GENERATION_CONFIG_FILE = "generation_config.json"
#: The sizes of other tables of tokens, which change if they are the vocabulary's.
_SIZES = ("vocab_size_per_layer_input",)


def changed_config(config: SourceConfig, change: VocabularyChange) -> SourceConfig:
    """A model's config with the new size and ids."""
    sizes = {name: change.size for name in _SIZES if config.get(name) == config.vocab_size}
    return config.updated({**sizes, "vocab_size": change.size, **_changed_ids(config, change)})


def generation_config_writes(directory: Path, change: VocabularyChange) -> tuple[WriteFile, ...]:
    """The generation config with the new ids, if there is one and it changes."""
    path = directory / GENERATION_CONFIG_FILE
    if not path.is_file():
        return ()
    content = read_json_object(path)
    updated = {**content, **_changed_ids(content, change)}
    if updated == content:
        return ()
    return (WriteFile(GENERATION_CONFIG_FILE, encode_json(updated)),)


def _changed_ids(fields: Mapping[str, Any], change: VocabularyChange) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    for role, (old, new) in change.named_ids.items():
        name = role.id_field
        if name is None:
            continue
        current = fields.get(name)
        if not isinstance(current, list):
            changed[name] = new
        elif old in current:
            # A model may have several end tokens; only the one that was replaced changes.
            changed[name] = list(dict.fromkeys(new if item == old else item for item in current))
        else:
            changed[name] = [new, *(item for item in current if item != new)]
    return changed
