"""Which modules of two models correspond, as derived from the mapping of their weights.

Modules correspond if the mapping only renames their parameters. So do the layers that a pattern
numbers, even if their parameters are split or joined, and the modules that contain corresponding
modules within a layer. A module that would correspond to two others corresponds to none.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from forgather_convert.logit_check.trace import Trace
from forgather_convert.tensors.names import compile_pattern
from forgather_convert.tensors.weight_mapping import WeightMapping

_TO_FIRST_NUMBER = re.compile(r"(.*?\.)?(\d+)(?=\.|$)")
_TO_FIRST_PLACEHOLDER = re.compile(r"[^{]*\.\{\w+\}(?=\.)")


@dataclass(frozen=True)
class Alignment:
    """Corresponding modules.

    Attributes:
        modules: The result's modules, by the source's.
        layers: The numbers of the source's layers, by their modules.
    """

    modules: dict[str, str]
    layers: dict[str, int]

    def layer_of(self, module: str) -> int | None:
        """The number of the layer that is, or contains, a module of the source."""
        match = _TO_FIRST_NUMBER.match(module)
        return None if match is None else self.layers.get(match[0])


def align(source: Trace, result: Trace, mapping: WeightMapping | None) -> Alignment:
    """Finds the corresponding modules of two models.

    Args:
        source: The trace of the source.
        result: The trace of the result.
        mapping: From the source's tensor names to the result's; ``None`` if they have the same.
    """
    if mapping is None:
        # The nameless module, the model as a whole, is no component of itself.
        modules = {name: name for name in source.modules if name and name in {*result.modules}}
        return Alignment(modules, layer_numbers(modules))
    renamed = list(_renamed_modules(source, result, mapping))
    layers_of_patterns = _one_to_one(_numbered_layers(source, result, mapping))
    leaves = [*renamed, *_embeddings(source, result)]
    around = [
        pair
        for leaf in renamed
        for pair in _around(*leaf)
        if _is_inside(pair[0], layers_of_patterns)
    ]
    modules = _one_to_one([*leaves, *around, *layers_of_patterns.items()])
    return Alignment(modules, layer_numbers(name for name in layers_of_patterns if name in modules))


def layer_numbers(modules: Iterable[str]) -> dict[str, int]:
    """The modules whose only number is at the end of their name, with that number."""
    matches = ((name, _TO_FIRST_NUMBER.match(name)) for name in modules)
    return {name: int(match[2]) for name, match in matches if match and match[0] == name}


def _renamed_modules(
    source: Trace, result: Trace, mapping: WeightMapping
) -> Iterator[tuple[str, str]]:
    rename = mapping.renamer()
    for stored, name in source.parameters.items():
        other = result.parameters.get(rename(stored) or "")
        if other is not None:
            yield name.rpartition(".")[0], other.rpartition(".")[0]


def _embeddings(source: Trace, result: Trace) -> Iterator[tuple[str, str]]:
    """Embedding and head: if they are tied, only one of them has a name in a checkpoint."""
    for one, other in zip(source.embeddings, result.embeddings, strict=True):
        if one is not None and other is not None:
            yield one, other


def _numbered_layers(
    source: Trace, result: Trace, mapping: WeightMapping
) -> Iterator[tuple[str, str]]:
    prefixes = {
        (one[0], other[0])
        for rule in mapping.rules
        for one in map(_TO_FIRST_PLACEHOLDER.match, rule.sources)
        for other in map(_TO_FIRST_PLACEHOLDER.match, rule.destinations)
        if one is not None and other is not None
    }
    known = set(result.modules)
    for one, other in prefixes:
        pattern = compile_pattern(one)
        for name in source.modules:
            match = pattern.fullmatch(name)
            if match is None:
                continue
            # The placeholder may have another name on the other side of an inverted mapping.
            partner = re.sub(r"\{\w+\}", match[1], other)
            if partner in known:
                yield name, partner
    rename = mapping.renamer()
    for stored, name in source.parameters.items():
        # A mapping may also spell out every number.
        other_name = result.parameters.get(rename(stored) or "")
        one_match = _TO_FIRST_NUMBER.match(name)
        other_match = None if other_name is None else _TO_FIRST_NUMBER.match(other_name)
        if one_match is not None and other_match is not None:
            yield one_match[0], other_match[0]


def _around(one: str, other: str) -> Iterator[tuple[str, str]]:
    """The pairs of modules that contain two modules, from the inside to the outside."""
    while "." in one and "." in other:
        one, other = one.rpartition(".")[0], other.rpartition(".")[0]
        yield one, other


def _is_inside(name: str, layers: Iterable[str]) -> bool:
    return any(name.startswith(f"{layer}.") for layer in layers)


def _one_to_one(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    partners: dict[str, set[str]] = {}
    inverse: dict[str, set[str]] = {}
    for one, other in pairs:
        partners.setdefault(one, set()).add(other)
        inverse.setdefault(other, set()).add(one)
    return {
        one: other
        for one, others in partners.items()
        for other in others
        if len(others) == 1 and len(inverse[other]) == 1
    }
