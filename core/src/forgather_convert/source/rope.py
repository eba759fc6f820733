"""Rotary embedding parameters in the schemas that configs use.

transformers 4 writes ``rope_theta`` and ``rope_scaling``; transformers 5 writes
``rope_parameters``, which version 4 silently misreads. Both read a config that has all three, and
this module reads any of them.

If sliding layers have another embedding than the others, ``rope_parameters`` has an entry for each
kind of layer; transformers 4 has the base of the sliding layers in ``rope_local_base_freq``.
"""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from forgather_convert.errors import UnsupportedModelError

logger = logging.getLogger(__name__)

DEFAULT_THETA = 10000.0
#: The context length that a model was trained with before it was extended.
ORIGINAL_LENGTH = "original_max_position_embeddings"
#: All config fields that RoPE is read from.
ROPE_FIELDS = ("rope_theta", "rope_scaling", "rope_parameters")
#: The field of transformers 4 for the base of sliding layers, if it differs.
LOCAL_BASE = "rope_local_base_freq"
#: The kind of layers that the fields for all layers apply to, if kinds differ.
MAIN_KIND = "full_attention"
#: The kind of layers that :data:`LOCAL_BASE` applies to.
LOCAL_KIND = "sliding_attention"
#: The required keys of each type.
_REQUIRED: Mapping[str, tuple[str, ...]] = {
    "default": (),
    "proportional": (),
    "linear": ("factor",),
    "dynamic": ("factor",),
    "yarn": ("factor",),
    "longrope": ("short_factor", "long_factor"),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
}
#: The type and the sections of embeddings whose positions in images have several dimensions.
_MULTIMODAL = "mrope"
_SECTIONS = "mrope_section"
_HAS_ORIGINAL_LENGTH = ("yarn", "longrope", "llama3")


@dataclass(frozen=True)
class RopeParameters:
    """The parameters of a rotary embedding, including those that transformers would derive.

    Attributes:
        rope_type: One of transformers' names: ``"default"``, ``"linear"``, ``"yarn"``...
        theta: The base of the frequencies.
        options: The type's own keys, by transformers' names.
        by_kind: The embeddings of kinds of layers that have their own, by the names in
            ``layer_types``.
    """

    rope_type: str
    theta: float
    options: Mapping[str, Any]
    by_kind: Mapping[str, "RopeParameters"] = field(default_factory=dict)

    @property
    def _has_scaling(self) -> bool:
        return self.rope_type != "default" or _SECTIONS in self.options

    def to_fields(self) -> dict[str, Any]:
        """The config fields from which transformers 4 and 5 both read this embedding."""
        scaling = {"rope_type": self.rope_type, **self.options}
        fields: dict[str, Any] = {
            "rope_theta": self.theta,
            "rope_scaling": scaling if self._has_scaling else None,
            "rope_parameters": {**scaling, "rope_theta": self.theta},
        }
        if self.rope_type == "longrope":
            # transformers 4 reads it only here, and version 5 prefers it here.
            fields[ORIGINAL_LENGTH] = self.options[ORIGINAL_LENGTH]
        if self.by_kind:
            own = {kind: rope.to_fields()["rope_parameters"] for kind, rope in self.by_kind.items()}
            fields["rope_parameters"] = {MAIN_KIND: fields["rope_parameters"], **own}
        if LOCAL_KIND in self.by_kind:
            fields[LOCAL_BASE] = self.by_kind[LOCAL_KIND].theta
        return fields


def read_rope(
    config: Mapping[str, Any], origin: str = "the config", is_complete: bool = True
) -> RopeParameters:
    """Reads a config as transformers 5 does.

    Args:
        config: The fields of the config.
        origin: The config, for messages.
        is_complete: Whether these are all fields; otherwise the config's class may have a default
            for a missing length.

    Raises:
        UnsupportedModelError: The type is unknown, or a required key is missing.
    """
    scaling, parameters = config.get("rope_scaling"), config.get("rope_parameters")
    for written in (scaling, parameters):
        if written is not None and not isinstance(written, Mapping):
            raise UnsupportedModelError(
                f"The RoPE parameters in {origin} are {written!r}, not an object. Fix them."
            )
    kinds = parameters_by_kind(parameters) or parameters_by_kind(scaling)
    if not kinds:
        return _read_one(config, scaling or parameters or {}, origin, is_complete)
    if MAIN_KIND not in kinds:
        raise UnsupportedModelError(
            f"The RoPE parameters in {origin} are given by kind of layer, but those for "
            f"'{MAIN_KIND}' are missing. Add them."
        )
    if scaling and not parameters_by_kind(scaling):
        kinds[MAIN_KIND] = {**kinds[MAIN_KIND], **scaling}
    elsewhere = {name: value for name, value in config.items() if name != ORIGINAL_LENGTH}
    ropes = {
        kind: _read_one(elsewhere, entry, origin, is_complete) for kind, entry in kinds.items()
    }
    return replace(ropes.pop(MAIN_KIND), by_kind=ropes)


def parameters_by_kind(written: Any) -> dict[str, Mapping[str, Any]]:
    """The RoPE parameters for each kind of layer; empty if they apply to all layers."""
    if not isinstance(written, Mapping):
        return {}
    return {kind: entry for kind, entry in written.items() if isinstance(entry, Mapping)}


def check_transformers_4_knows(
    parameters: Mapping[str, Any], origin: str, has_local_base: bool = True
) -> None:
    """Checks what is written as ``rope_parameters``.

    Args:
        parameters: The parameters.
        origin: The config, for messages.
        has_local_base: Whether the family has the field :data:`LOCAL_BASE`.

    Raises:
        UnsupportedModelError: transformers 4 has no field for it.
    """
    kinds = parameters_by_kind(parameters)
    for kind in kinds.keys() - {MAIN_KIND}:
        entry = dict(kinds[kind])
        base = entry.pop("rope_theta", None)
        is_known = has_local_base or base == kinds[MAIN_KIND].get("rope_theta")
        if kind != LOCAL_KIND or entry not in ({}, {"rope_type": "default"}) or not is_known:
            raise UnsupportedModelError(
                f"The installed transformers does not support the RoPE parameters for '{kind}' in "
                f"{origin}. Install version 5 of transformers."
            )


def _read_one(
    config: Mapping[str, Any], written: Mapping[str, Any], origin: str, is_complete: bool
) -> RopeParameters:
    if "rope_type" in written and written["rope_type"] is None:
        raise UnsupportedModelError(
            f"The RoPE type in {origin} is null. It must be one of {', '.join(_REQUIRED)}."
        )
    options = {key: value for key, value in written.items() if value is not None}
    theta = options.pop("rope_theta", config.get("rope_theta"))
    old_type = options.pop("type", None)
    rope_type = options.pop("rope_type", old_type or "default")
    if rope_type == _MULTIMODAL:
        # The same for text; its sections only matter for images.
        rope_type = "default"
    if not isinstance(rope_type, str) or rope_type not in _REQUIRED:
        raise UnsupportedModelError(
            f"The RoPE type '{rope_type}' in {origin} is unknown. Known types: "
            f"{', '.join(_REQUIRED)}."
        )
    missing = [key for key in _REQUIRED[rope_type] if key not in options]
    longest = config.get("max_position_embeddings")
    if rope_type == "yarn" and missing == ["factor"] and options.get(ORIGINAL_LENGTH):
        missing = []
    if missing:
        raise UnsupportedModelError(
            f"The RoPE type '{rope_type}' needs {', '.join(repr(key) for key in missing)}, which "
            f"{origin} does not give."
        )
    if "partial_rotary_factor" in config and config["partial_rotary_factor"] is not None:
        options.setdefault("partial_rotary_factor", config["partial_rotary_factor"])
    if rope_type in _HAS_ORIGINAL_LENGTH and (is_complete or longest):
        outside = config.get(ORIGINAL_LENGTH)
        options[ORIGINAL_LENGTH] = outside or options.get(ORIGINAL_LENGTH) or longest
        if rope_type in ("yarn", "longrope"):
            _make_explicit(rope_type, options, longest, origin)
    return RopeParameters(rope_type, DEFAULT_THETA if theta is None else theta, options)


def longrope_ambiguous_in_v4(config: Mapping[str, Any], has_field: bool) -> bool:
    """Whether transformers 4 reads LongRoPE's original length or factor from another field.

    It reads the length only from a field beside the dictionary, and if that field exists, it uses
    the ratio of the two lengths as the factor.

    Args:
        config: The content of a ``config.json``.
        has_field: Whether the family's config class has a field with a default for the length.
    """
    rope = config.get("rope_scaling") or config.get("rope_parameters")
    if not isinstance(rope, Mapping) or rope.get("rope_type", rope.get("type")) != "longrope":
        return False
    inside, longest = rope.get(ORIGINAL_LENGTH), config.get("max_position_embeddings")
    outside = config.get(ORIGINAL_LENGTH)
    if outside is None and not has_field:
        return inside is not None and inside != longest
    if outside is None or rope.get("attention_factor") is not None or rope.get("factor") is None:
        return False
    return bool(longest and rope["factor"] != longest / outside)


def _make_explicit(rope_type: str, options: dict[str, Any], longest: Any, origin: str) -> None:
    """States what would otherwise be derived from the maximum length, which may change."""
    original = options[ORIGINAL_LENGTH]
    if not longest or not original:
        raise UnsupportedModelError(
            f"The RoPE type '{rope_type}' needs '{ORIGINAL_LENGTH}' or 'max_position_embeddings', "
            f"which {origin} does not give."
        )
    if options.get("factor") is None:
        options["factor"] = longest / original
    if rope_type == "longrope" and options.get("attention_factor") is None:
        # The rule of transformers 5; version 4 derives the factor from the lengths alone.
        factor = options["factor"]
        options["attention_factor"] = (
            1.0 if factor <= 1.0 else math.sqrt(1 + math.log(factor) / math.log(original))
        )
