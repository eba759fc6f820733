"""The ``config.json`` of a Hugging Face model, from the config object of its family."""

import json
import math
from collections.abc import Mapping
from typing import Any

from forgather_convert.families.converter import OPTIONAL_HYPERPARAMETERS
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.families.rope import ROPE_FIELDS, read_rope
from forgather_convert.source.config_file import SourceConfig


def complete_config(hooks: FamilyHooks, config: SourceConfig) -> SourceConfig:
    """Adds what the family's config class knows to the content of a config file.

    The class fills in its defaults and applies its rules (a window that is switched off,
    the size of a head). RoPE is left as the file has it.
    """
    hf_config = hooks.hf_config(config, None)
    known = {*hooks.converter.hyperparameters, *OPTIONAL_HYPERPARAMETERS}
    fields = {name: getattr(hf_config, name) for name in known if hasattr(hf_config, name)}
    return config.updated(fields)


def hf_config_fields(
    hooks: FamilyHooks, config: SourceConfig, max_length: int | None, dtype: str
) -> dict[str, Any]:
    """The fields of the Hugging Face config for a config of either side.

    They say RoPE in the schemas of transformers 4 and 5, and write down what a default
    of the class might change.
    """
    hf_config = hooks.hf_config(config, max_length)
    everything = hf_config.to_dict()
    names = {*hf_config.to_diff_dict(), *hooks.converter.hyperparameters}
    names |= {name for name in config if name in everything}
    fields = {
        name: everything[name]
        for name in names
        if name in everything and not name.startswith("_") and name != "transformers_version"
    }
    for name in ROPE_FIELDS:
        fields.pop(name, None)
    fields.update(hooks.converter.rope_fields(read_rope(everything)))
    fields["model_type"] = hooks.model_type
    fields["architectures"] = [hooks.hf_model_class().__name__]
    fields["tie_word_embeddings"] = bool(everything.get("tie_word_embeddings", False))
    fields.pop("torch_dtype", None)
    fields["dtype"] = dtype
    return fields


def restored_config(original: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The original config with what has changed since it was converted.

    Args:
        original: The text of the original ``config.json``.
        then: The fields that it stands for.
        now: The fields that the Forgather model stands for.

    Returns:
        The original text, to the byte, if nothing has changed that it says.
    """
    changed = {
        name: now.get(name)
        for name in {*then, *now}
        if name not in then or name not in now or not _same(then[name], now[name])
    }
    if not changed:
        return original
    content = json.loads(original)
    updated = dict(content)
    for name, value in changed.items():
        if name == "dtype" and "dtype" not in content and "torch_dtype" in content:
            updated["torch_dtype"] = value
        elif name in now:
            updated[name] = value
        else:
            updated.pop(name, None)
    if updated == content:
        return original
    # A file that is not the original must be readable by transformers 4 and 5.
    updated.update({name: now[name] for name in ROPE_FIELDS})
    return json.dumps(updated, indent=2, ensure_ascii=False) + "\n"


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return type(one) is type(other) and bool(one == other)
