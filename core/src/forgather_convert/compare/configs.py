"""Compares what two configs mean, whoever wrote them and in which schema."""

import copy
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from forgather_convert.compare.result import FieldDifference
from forgather_convert.models.reference import rope_of
from forgather_convert.source.config_file import is_same_value
from forgather_convert.source.rope import LOCAL_BASE, ROPE_FIELDS

#: What says who wrote a config, and not what the model is.
BOOKKEEPING = frozenset(
    {
        "_attn_implementation_autoset",
        "_name_or_path",
        "architectures",
        "auto_map",
        "dtype",
        "model_type",
        # What tokenizers read is compared by itself.
        "tokenizer_class",
        "torch_dtype",
        "transformers_version",
    }
)

#: What makes transformers read other files, run other code or build other modules, whatever the
#: class of the config.
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
    """The fields that differ between two config objects of Hugging Face models.

    Fields that the classes do not both know are not read by both models, and are not compared.
    """
    known = known_fields(a) & known_fields(b)
    one, other = ({name: _field(config, name) for name in known} for config in (a, b))
    return _differences({**one, **_rope(a)}, {**other, **_rope(b)})


def compare_across(
    hf: Any,
    forgather: Any,
    field_names: Mapping[str, str],
    rope_fields: Collection[str] = (),
) -> tuple[FieldDifference, ...]:
    """The fields that differ between the config objects of a Hugging Face and a Forgather model.

    They are compared as they are, field by field: what a converter makes of them takes no part.
    A field that the Forgather config has nothing for must have the value that it has in a Hugging
    Face config that does not say it either.

    Args:
        hf: The Hugging Face model's.
        forgather: The Forgather model's.
        field_names: Fields that have another name in the Forgather config, and that name.
        rope_fields: The names by which the Hugging Face model's class has its rotary embedding,
            which is compared by what it means.

    Returns:
        The differences, by Hugging Face names; ``a`` is the Hugging Face model's value.
    """
    known = known_fields(hf) - ({*rope_fields} - inherited_fields())
    said = forgather.to_dict().keys()
    # The source's config may have a field by either name of the class's attribute_map.
    aliases = {name: alias for alias, name in hf.attribute_map.items()}
    stated = {
        name: _field(forgather, own_name)
        for name in known
        for own_name in (aliases.get(name, name), field_names.get(name, name))
        if own_name in said
    }
    absent = known - stated.keys()
    derived = _derived(hf, stated, rope_fields) if absent else None
    one = {name: _field(hf, name) for name in known}
    other = {**stated, **{name: _field(derived, name) for name in absent}}
    return _differences({**one, **_rope(hf)}, {**other, **_rope(forgather)})


def known_fields(config: Any) -> frozenset[str]:
    """The fields of a config object's class that say what a model is, apart from RoPE's."""
    known: Iterable[str] = type(config)().to_dict().keys()
    return frozenset(known) - BOOKKEEPING - {*ROPE_FIELDS, LOCAL_BASE}


def inherited_fields() -> frozenset[str]:
    """The fields that every config class has."""
    from transformers import PretrainedConfig

    return frozenset(PretrainedConfig().to_dict())


def _derived(hf: Any, stated: Mapping[str, Any], rope_fields: Collection[str]) -> Any:
    """A config object of the same class that says no more than what is stated."""
    everything = hf.to_dict()
    names = {*ROPE_FIELDS, LOCAL_BASE, *rope_fields} & everything.keys()
    rope = {name: everything[name] for name in names}
    return type(hf).from_dict(copy.deepcopy({**stated, **rope}))


def _field(config: Any, name: str) -> Any:
    return _plain(getattr(config, name, None))


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
