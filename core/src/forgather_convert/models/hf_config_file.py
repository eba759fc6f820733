"""The ``config.json`` of a Hugging Face model, from the config object of its family."""

import json
import math
from collections.abc import Collection, Mapping
from typing import Any

from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.files.json_file import parse_json_object
from forgather_convert.models.reference import ReferenceClasses, rope_fields_of
from forgather_convert.source.composite import TEXT_CONFIG, has_text_config
from forgather_convert.source.config_file import DTYPE_FIELDS
from forgather_convert.source.rope import ROPE_FIELDS

_TIED = "tie_word_embeddings"


def hf_config_fields(
    hooks: FamilyHooks, config_object: Any, config: Mapping[str, Any], dtype: str
) -> dict[str, Any]:
    """The fields of the Hugging Face config that a config object describes.

    RoPE is written in the schemas of transformers 4 and 5, and fields whose defaults might change
    are stated.

    Args:
        hooks: The converter of the family.
        config_object: The config object.
        config: The config that it was made from; all of its fields are stated, too.
        dtype: The dtype to state.
    """
    everything = config_object.to_dict()
    names = {*config_object.to_diff_dict(), *hooks.get_hyperparameters()}
    names |= {name for name in config if name in everything}
    fields = {
        name: everything[name]
        for name in names
        if name in everything and not name.startswith("_") and name != "transformers_version"
    }
    if hooks.uses_rope():
        for name in ROPE_FIELDS:
            fields.pop(name, None)
    fields.update(rope_fields_of(config_object, hooks, "the config"))
    fields["model_type"] = hooks.model_type
    fields["architectures"] = [ReferenceClasses.of(hooks).model_class.__name__]
    fields["tie_word_embeddings"] = bool(everything.get("tie_word_embeddings", False))
    fields.pop("torch_dtype", None)
    fields["dtype"] = dtype
    return fields


def restored_config(
    original: str,
    recorded: Mapping[str, Any],
    current: Mapping[str, Any],
    rope_fields: Collection[str],
) -> str:
    """The original config with the changes made since it was converted.

    Args:
        original: The text of the original ``config.json``.
        recorded: The fields that the original describes.
        current: The fields that the Forgather model describes.
        rope_fields: The names of the RoPE fields.

    Returns:
        The exact original text if none of its fields has changed.
    """
    changed = {
        name: current.get(name)
        for name in {*recorded, *current}
        if name not in recorded or name not in current or not _same(recorded[name], current[name])
    }
    if not changed:
        return original
    content = parse_json_object(original, "the original config")
    # In a composite's config, the fields of its text model are in an object of their own.
    text = content[TEXT_CONFIG] if has_text_config(content) else content
    if text is not content and _TIED not in text and _TIED not in content:
        # The weights determine it; see ReferenceClasses.read_whole.
        changed.pop(_TIED, None)
    if text is content:
        whole = updated = _with_changes(content, changed, current)
    else:
        outside = {name for name in changed if _is_in(name, content)}
        if "dtype" in changed and not _is_in("dtype", text):
            outside.add("dtype")
        inside = {name for name in changed if name not in outside or _is_in(name, text)}
        updated = _with_changes(text, {name: changed[name] for name in inside}, current)
        whole = _with_changes(content, {name: changed[name] for name in outside}, current)
        whole[TEXT_CONFIG] = updated
    if whole == content:
        return original
    # A file that differs from the original must be readable by transformers 4 and 5.
    updated.update({name: current[name] for name in rope_fields if name in current})
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def _with_changes(
    content: Mapping[str, Any], changed: Mapping[str, Any], current: Mapping[str, Any]
) -> dict[str, Any]:
    updated = dict(content)
    for name, value in changed.items():
        if name == "dtype":
            stated = [field for field in DTYPE_FIELDS if field in content]
            updated.update(dict.fromkeys(stated or ["dtype"], value))
        elif name in current:
            updated[name] = value
        else:
            updated.pop(name, None)
    return updated


def _is_in(name: str, content: Mapping[str, Any]) -> bool:
    return name in content or (name == "dtype" and not content.keys().isdisjoint(DTYPE_FIELDS))


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and _equal(one, other)


def _equal(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal; NaN counts as equal to NaN, at any depth."""
    match one, other:
        case dict(), dict():
            return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
        case list(), list():
            return len(one) == len(other) and all(map(_equal, one, other))
        case float(), float() if math.isnan(one):
            return math.isnan(other)
    return bool(one == other)
