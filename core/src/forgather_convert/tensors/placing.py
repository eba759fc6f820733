"""Which tensors a weight mapping covers, judging by their names alone."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from forgather_convert.tensors.weight_mapping import WeightMapping


@dataclass(frozen=True)
class Places:
    """What a mapping does with the tensors of a checkpoint.

    Attributes:
        renamed: Tensors that only get another name, with that name.
        computed: Tensors that others are computed from.
        unplaced: Tensors that the mapping has no place for.
    """

    renamed: Mapping[str, str]
    computed: tuple[str, ...]
    unplaced: tuple[str, ...]


def find_places(names: Iterable[str], mapping: WeightMapping) -> Places:
    """Applies a mapping to names; a checkpoint of the base model has them without the prefix."""
    patterns = mapping.source_patterns
    bases = {source.partition(".")[0] for rule in mapping.rules for source in rule.sources}
    renamed: dict[str, str] = {}
    computed, unplaced = [], []
    for name in names:
        match = patterns.find(name) or next(
            filter(None, (patterns.find(f"{base}.{name}") for base in bases)), None
        )
        if match is None:
            unplaced.append(name)
            continue
        rule, numbers = match
        if rule.operations:
            computed.append(name)
        else:
            renamed[name] = rule.destinations[0].format_map(numbers)
    return Places(renamed, tuple(computed), tuple(unplaced))
