"""Capabilities of a model: the class attributes that tell transformers what it supports."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from forgather_convert.dynamic_model.full_precision import translated_modules
from forgather_convert.tensors.weight_mapping import WeightMapping

#: Only plain names are accepted, since transformers treats them as regular expressions.
_MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,199}")


@dataclass(frozen=True)
class Capabilities:
    """The attributes of a :class:`transformers.PreTrainedModel` class that depend on the family.

    Attributes:
        supports_sdpa: Attention by ``torch.nn.functional.scaled_dot_product_attention``.
        supports_flash_attn: Attention by the flash-attention library.
        supports_flex_attn: Attention by ``torch.nn.attention.flex_attention``.
        supports_attention_backend: Attention by functions registered by other libraries.
        is_stateful: Whether its state cannot return to an earlier position, which assisted
            generation needs.
        keeps_all_logits: Whether it always computes the logits of all positions, so that those of
            the last one do not differ in their last bits.
        keep_in_fp32_modules: The modules kept in float32 if the model is loaded in float16.
        keep_in_fp32_modules_strict: The modules kept in float32 in bfloat16, too.
    """

    supports_sdpa: bool = True
    supports_flash_attn: bool = True
    supports_flex_attn: bool = True
    supports_attention_backend: bool = True
    is_stateful: bool = False
    keeps_all_logits: bool = False
    keep_in_fp32_modules: tuple[str, ...] = ()
    keep_in_fp32_modules_strict: tuple[str, ...] = ()

    @classmethod
    def of(cls, model_class: Any, mapping: WeightMapping) -> "Capabilities":
        """The capabilities of a class in transformers."""
        defaults = cls().attributes()
        lists = {
            name: translated_modules(getattr(model_class, name, None) or (), model_class, mapping)
            for name, default in defaults.items()
            if isinstance(default, tuple)
        }
        flags = {name: bool(getattr(model_class, name, False)) for name in {*defaults} - {*lists}}
        forward = getattr(model_class, "forward", None)
        keeps_all = forward and "logits_to_keep" not in inspect.signature(forward).parameters
        return cls.from_attributes({**flags, **lists, "_keeps_all_logits": bool(keeps_all)})

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> "Capabilities":
        """From class attributes by their names.

        Missing attributes, and those with invalid values, get the defaults.
        """
        defaults = cls().attributes()
        values: dict[str, Any] = {
            name.removeprefix("_"): tuple(value) if isinstance(value, list) else value
            for name, value in attributes.items()
            if name in defaults and _is_like(value, defaults[name])
        }
        return cls(**values)

    def attributes(self) -> dict[str, bool | tuple[str, ...]]:
        """The names and values of the class attributes."""
        return {f"_{each.name}": getattr(self, each.name) for each in fields(self)}


def _is_like(value: object, default: bool | tuple[str, ...]) -> bool:
    if isinstance(default, bool):
        return isinstance(value, bool)
    return isinstance(value, list | tuple) and all(
        isinstance(each, str) and _MODULE.fullmatch(each) for each in value
    )
