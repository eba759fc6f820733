"""Compares what two configs mean, whoever wrote them and in which schema."""

from collections.abc import Mapping
from typing import Any

from forgather_convert.families.rope import LOCAL_BASE, ROPE_FIELDS
from forgather_convert.sides.reference import rope_of
from forgather_convert.verification.result import FieldDifference

#: What says who wrote a config and how its model is run, and not what the model is.
_BOOKKEEPING = frozenset(
    {
        "_attn_implementation_autoset",
        "_name_or_path",
        "architectures",
        "auto_map",
        "dtype",
        "torch_dtype",
        "transformers_version",
        "use_cache",
    }
)


def compare_configs(a: Any, b: Any) -> tuple[FieldDifference, ...]:
    """The fields that differ between two config objects of a family in transformers.

    Fields that the class does not know are not read by its model, and are not compared.
    """
    one, other = _meaning(a), _meaning(b)
    return tuple(
        FieldDifference(name, one.get(name), other.get(name))
        for name in sorted({*one, *other})
        if one.get(name) != other.get(name)
    )


def _meaning(config: Any) -> dict[str, Any]:
    known = type(config)().to_dict().keys() - _BOOKKEEPING - {*ROPE_FIELDS, LOCAL_BASE}
    fields = {name: _plain(getattr(config, name, None)) for name in known}
    rope = rope_of(config, "the config").to_fields()["rope_parameters"]
    return {**fields, **_flat(rope, "rope_parameters")}


def _flat(value: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for key, inner in value.items():
        name = f"{prefix}.{key}"
        fields.update(_flat(inner, name) if isinstance(inner, Mapping) else {name: _plain(inner)})
    return fields


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
