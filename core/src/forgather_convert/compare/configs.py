"""Compares the meaning of two configs, independently of their authors and schemas."""

import copy
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from forgather_convert.compare.result import FieldDifference
from forgather_convert.models.reference import defaults_of, rope_of
from forgather_convert.source.config_file import BOOKKEEPING, is_same_value
from forgather_convert.source.rope import LOCAL_BASE, ROPE_FIELDS

#: Fields that are not compared here. Tokenizers are compared separately.
NOT_COMPARED = BOOKKEEPING | {"tokenizer_class"}

#: Fields that make transformers read other files, run other code or build other modules,
#: whatever the class of the config.
READ_BY_TRANSFORMERS = frozenset(
    {
        "_attn_implementation",
        "attn_implementation",
        "auto_map",
        "base_model_pp_plan",
        "base_model_tp_plan",
        "compression_config",
        "configuration_files",
        "experts_implementation",
        "quantization_config",
        "transformers_weights",
    }
)


def compare_configs(a: Any, b: Any) -> tuple[FieldDifference, ...]:
    """The fields that differ between the config objects of two Hugging Face models.

    Only fields that both classes know are compared, since the models read no others.
    """
    known = known_fields(a) & known_fields(b)
    one, other = (_fields(config, known) for config in (a, b))
    return _differences({**one, **_rope(a)}, {**other, **_rope(b)})


def compare_across(
    hf: Any,
    forgather: Any,
    field_names: Mapping[str, str],
    rope_fields: Collection[str] = (),
) -> tuple[FieldDifference, ...]:
    """The fields that differ between the configs of a Hugging Face and a Forgather model.

    They are compared directly, field by field, without the converter. A field that is missing from
    the Forgather config must have the value that the Hugging Face class derives without it.

    Args:
        hf: The Hugging Face model's config.
        forgather: The Forgather model's config.
        field_names: The Forgather names of fields that have another name there.
        rope_fields: The names of the RoPE fields in the Hugging Face model's class; RoPE is
            compared by its meaning.

    Returns:
        The differences, by Hugging Face names; ``a`` is the Hugging Face model's value.
    """
    known = known_fields(hf) - ({*rope_fields} - inherited_fields())
    said = forgather.to_dict().keys()
    # The source's config may have a field by either name of the class's attribute_map.
    aliases = {name: alias for alias, name in hf.attribute_map.items()}
    stated = {
        name: _plain(getattr(forgather, own_name))
        for name in known
        for own_name in (aliases.get(name, name), field_names.get(name, name))
        if own_name in said
    }
    absent = known - stated.keys()
    derived = _fields(_derived(hf, stated, rope_fields), absent) if absent else {}
    one, other = _fields(hf, known), {**stated, **derived}
    return _differences({**one, **_rope(hf)}, {**other, **_rope(forgather)})


def known_fields(config: Any) -> frozenset[str]:
    """The fields of a config class that define a model, without those of RoPE."""
    known: Iterable[str] = defaults_of(type(config)).to_dict().keys()
    return frozenset(known) - NOT_COMPARED - {*ROPE_FIELDS, LOCAL_BASE}


def inherited_fields() -> frozenset[str]:
    """The fields that every config class has."""
    from transformers import PretrainedConfig

    return frozenset(defaults_of(PretrainedConfig).to_dict())


def _derived(hf: Any, stated: Mapping[str, Any], rope_fields: Collection[str]) -> Any:
    """A config object of the same class that has only the stated fields."""
    everything = hf.to_dict()
    names = {*ROPE_FIELDS, LOCAL_BASE, *rope_fields} & everything.keys()
    rope = {name: everything[name] for name in names}
    return type(hf).from_dict(copy.deepcopy({**stated, **rope}))


def _fields(config: Any, names: Iterable[str]) -> dict[str, Any]:
    # Attributes may be views of what is stored, like the fields that differ by layer.
    stored = config.to_dict()
    return {
        name: _plain(stored[name] if name in stored else getattr(config, name, None))
        for name in names
    }


def _rope(config: Any) -> dict[str, Any]:
    rope = rope_of(config, "the config").to_fields()["rope_parameters"]
    return _flat(rope, "rope_parameters")


def _differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[FieldDifference, ...]:
    return tuple(
        FieldDifference(name, one.get(name), other.get(name))
        for name in sorted({*one, *other})
        if not is_same_value(one.get(name), other.get(name))
    )


def _flat(value: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for key, inner in value.items():
        name = f"{prefix}.{key}"
        fields.update(_flat(inner, name) if isinstance(inner, Mapping) else {name: _plain(inner)})
    return fields


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
