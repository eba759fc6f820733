"""Finds the modules that stay in float32 when a model is loaded in a narrower dtype.

A model class of transformers lists them in ``_keep_in_fp32_modules``, for float16, and in
``_keep_in_fp32_modules_strict``, for bfloat16 too.
"""

import re
from collections.abc import Collection, Iterable
from typing import Any

from forgather_convert.tensors.names import example_name
from forgather_convert.tensors.weight_mapping import WeightMapping

#: The names of parameters within their modules, which no module has.
_LEAVES = ("weight", "bias")


def translated_modules(
    modules: Iterable[str], model_class: Any, mapping: WeightMapping
) -> tuple[str, ...]:
    """The modules that a class lists, by the dynamic model's names for the same parameters.

    A single module name is used where it suffices, since transformers 4 accepts nothing else.
    """
    listed = [as_transformers_finds(module, model_class) for module in modules]
    kept: set[str] = set()
    names: list[str] = []
    for rule in mapping.rules:
        destinations = [example_name(pattern) for pattern in rule.destinations]
        names += destinations
        if any(find.search(example_name(source)) for find in listed for source in rule.sources):
            kept.update(destinations)
    result: list[str] = []
    # The parameters of modules first: others may be inside one of these.
    for name in sorted(kept, key=lambda name: (name.rpartition(".")[2] not in _LEAVES, name)):
        if not any(f".{module}." in f".{name}." for module in result):
            result.append(_shortest(name, kept, names))
    return tuple(sorted(result))


def as_transformers_finds(module: str, model_class: Any) -> re.Pattern[str]:
    """The pattern that the installed transformers searches for in a parameter's name."""
    if hasattr(model_class, "_get_dtype_plan"):
        return re.compile(module.replace("*", ".*"))
    return re.compile(rf"(^|\.){module}($|\.)")


def _shortest(name: str, kept: Collection[str], names: Iterable[str]) -> str:
    """The shortest part of a name by which transformers finds only parameters to keep."""
    words = re.split(r"\.\d+\.", name)[-1].split(".")
    modules = [word for word in reversed(words) if word not in _LEAVES]
    parts = [*modules, *(".".join(words[start:]) for start in reversed(range(len(words) - 1)))]
    for part in parts:
        if all(other in kept for other in names if part in other):
            return part
    return parts[-1]
