"""Finds the source of every destination tensor, or says why there is none."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from forgather_convert.errors import MappingError, UnsupportedModelError
from forgather_convert.sides.parameters import ModelSkeleton
from forgather_convert.tensors import WeightMapping, collapse_names
from forgather_convert.tensors.dtypes import WEIGHT_DTYPES
from forgather_convert.tensors.names import compile_pattern
from forgather_convert.tensors.tensor_source import TensorSource
from forgather_convert.tensors.weight_mapping import Rule
from forgather_convert.weights.tensor_ref import TensorRef, format_shape

#: Tells the names on both sides, for ``--debug-params``.
parameter_logger = logging.getLogger("forgather_convert.parameters")
#: Tables of the rotary embedding that older versions stored; they follow from the config.
_RECOMPUTED = re.compile(r".*\.(?:inv_freq|cos_cached|sin_cached)")
_CHUNK = 8 << 20


@dataclass(frozen=True)
class Match:
    """Which source tensors become which destination tensors.

    Attributes:
        sources: For every destination tensor, what it is made of.
        source_state: The source's tensors, by the names that its model expects.
        recomputed: Source tensors that the destination model computes itself.
    """

    sources: Mapping[str, TensorSource]
    source_state: Mapping[str, TensorRef]
    recomputed: tuple[TensorRef, ...]


@dataclass
class _Group:
    """The tensors that a rule is applied to together.

    Attributes:
        rule: The rule.
        numbers: What its placeholders stand for, except the one of a series.
        found: The source names by their place in the rule, or in the series.
    """

    rule: Rule
    numbers: Mapping[str, str]
    found: dict[int, str] = field(default_factory=dict)

    def expected_names(self) -> list[str]:
        """The source names that must be there."""
        over = self.rule.over
        if over is None or over in self.numbers or not _has_placeholder(self.rule.sources[0], over):
            return [pattern.format_map(self.numbers) for pattern in self.rule.sources]
        (pattern,) = self.rule.sources
        return [
            pattern.format_map({**self.numbers, over: index})
            for index in range(max(self.found) + 1)
        ]

    def destination_names(self, sources: list[TensorSource]) -> list[str]:
        over = self.rule.over
        if over is None or not _has_placeholder(self.rule.destinations[0], over):
            return [pattern.format_map(self.numbers) for pattern in self.rule.destinations]
        (pattern,) = self.rule.destinations
        count = sources[0].shape[0]
        return [pattern.format_map({**self.numbers, over: index}) for index in range(count)]


def match_tensors(
    source: Mapping[str, TensorRef],
    mapping: WeightMapping,
    skeleton: ModelSkeleton,
    config: Mapping[str, Any],
    origin: str,
) -> Match:
    """Matches a checkpoint with the model it is to fill.

    Args:
        source: The source's tensors.
        mapping: From the source's names to the destination's.
        skeleton: What the destination model expects.
        config: The model's config, for operations that depend on it.
        origin: The source, for messages.

    Raises:
        MappingError: Tensors are left over or missing, or have another shape.
        UnsupportedModelError: Tensors are quantized.
    """
    recomputed = tuple(ref for name, ref in source.items() if _RECOMPUTED.fullmatch(name))
    rest = {name: ref for name, ref in source.items() if not _RECOMPUTED.fullmatch(name)}
    _refuse_quantized(rest, origin)

    groups, unmapped = _group(rest, mapping)
    sources: dict[str, TensorSource] = {}
    missing: list[str] = []
    places: dict[str, list[str]] = {name: [] for name in rest}
    for group in groups:
        names = group.expected_names()
        absent = [name for name in names if name not in rest]
        if absent:
            missing += absent
            continue
        inputs = [TensorSource.of(rest[name]) for name in names]
        destinations = group.destination_names(inputs)
        for name in names:
            places[name] += destinations
        if not all(name in skeleton.shapes or name in skeleton.tied for name in destinations):
            unmapped += names
            continue
        shapes = [skeleton.shapes.get(name, inputs[0].shape) for name in destinations]
        outputs = group.rule.operation.outputs(inputs, shapes, config)
        sources.update(zip(destinations, outputs, strict=True))
    _log_names(rest, places, skeleton)
    state = _resolve_tied(rest, sources, skeleton, mapping, origin)

    missing += [
        name
        for name in skeleton.shapes
        if name not in sources and not any(name in names for names in places.values())
    ]
    if unmapped or missing:
        raise MappingError(_mismatch_message(origin, unmapped, missing, rest))
    for destination, made in sources.items():
        if made.shape != skeleton.shapes[destination]:
            ref = made.inputs[0]
            raise MappingError(
                f"'{ref.name}' in {ref.file} has the shape {format_shape(made.shape)}, but the "
                f"config makes '{destination}' {format_shape(skeleton.shapes[destination])}. "
                "Check that config and weights belong to the same model."
            )
    return Match(
        sources={name: sources[name] for name in skeleton.shapes},
        source_state=state,
        recomputed=recomputed,
    )


def _group(
    source: Mapping[str, TensorRef], mapping: WeightMapping
) -> tuple[list[_Group], list[str]]:
    """Finds the rule for every tensor; gives the groups, and the tensors without a rule."""
    patterns = [
        (compile_pattern(pattern), rule, place)
        for rule in mapping.rules
        for place, pattern in enumerate(rule.sources)
    ]
    groups: dict[tuple[Any, ...], _Group] = {}
    unmapped = []
    for name in source:
        matches = ((pattern.fullmatch(name), rule, place) for pattern, rule, place in patterns)
        match, rule, place = next((found for found in matches if found[0]), (None, None, 0))
        if match is None or rule is None:
            unmapped.append(name)
            continue
        numbers = match.groupdict()
        index = place if rule.over is None else int(numbers.pop(rule.over, place))
        key = (rule.sources, *sorted(numbers.items()))
        groups.setdefault(key, _Group(rule, numbers)).found[index] = name
    return list(groups.values()), unmapped


def _has_placeholder(pattern: str, name: str) -> bool:
    return "{" + name + "}" in pattern


def _log_names(
    source: Mapping[str, TensorRef], places: Mapping[str, list[str]], skeleton: ModelSkeleton
) -> None:
    for name, destinations in places.items():
        shape = format_shape(source[name].shape)
        parameter_logger.info("%s %s -> %s", name, shape, ", ".join(destinations) or "(no place)")
    reached = {name for destinations in places.values() for name in destinations}
    for name in sorted(set(skeleton.shapes) - reached):
        parameter_logger.info("(none) -> %s %s", name, format_shape(skeleton.shapes[name]))


def _resolve_tied(
    rest: Mapping[str, TensorRef],
    sources: dict[str, TensorSource],
    skeleton: ModelSkeleton,
    mapping: WeightMapping,
    origin: str,
) -> dict[str, TensorRef]:
    """Leaves one source of every tied pair; gives the source's tensors by their proper names."""
    state = dict(rest)
    proper_name = mapping.inverted().renamer()
    for second, first in skeleton.tied.items():
        if second not in sources:
            continue
        copy = sources.pop(second).inputs[0]
        if first not in sources:
            # Stored under the second name only: transformers 4 would not find it there.
            sources[first] = TensorSource.of(copy)
            second_name, first_name = proper_name(second), proper_name(first)
            if first_name is not None and second_name in state:
                state[first_name] = state.pop(second_name)
        elif not have_equal_bytes(copy, sources[first].inputs[0]):
            raise MappingError(
                f"The config of {origin} ties '{copy.name}' to "
                f"'{sources[first].inputs[0].name}', but the two differ. transformers 4 would "
                "ignore the first and transformers 5 would use it. Set tie_word_embeddings to "
                "false in config.json to keep both, or delete the tensor that is stale."
            )
    return state


def have_equal_bytes(one: TensorRef, other: TensorRef) -> bool:
    """Whether two tensors are the same, bit for bit. Reads a few megabytes at a time."""
    if (one.dtype, one.shape, one.stride) != (other.dtype, other.shape, other.stride):
        return False
    if (one.file, one.offset) == (other.file, other.offset):
        return True
    remaining = one.num_bytes
    with one.file.open("rb") as left, other.file.open("rb") as right:
        left.seek(one.offset)
        right.seek(other.offset)
        while remaining:
            size = min(remaining, _CHUNK)
            if left.read(size) != right.read(size):
                return False
            remaining -= size
    return True


def _refuse_quantized(tensors: Mapping[str, TensorRef], origin: str) -> None:
    quantized = [ref for ref in tensors.values() if ref.dtype not in WEIGHT_DTYPES]
    if quantized:
        kinds = ", ".join(sorted({ref.dtype for ref in quantized}))
        raise UnsupportedModelError(
            f"{origin} has weights of the type {kinds}, which are quantized and cannot be "
            f"converted without loss:{collapse_names(ref.name for ref in quantized)}\n"
            "Use the model's unquantized weights."
        )


def _mismatch_message(
    origin: str, unmapped: list[str], missing: list[str], source: Mapping[str, TensorRef]
) -> str:
    parts = [f"The weights in {origin} do not fit the model that its config describes."]
    if unmapped:
        parts.append(f"{len(unmapped)} tensors have no place in it:{collapse_names(unmapped)}")
    if missing:
        parts.append(f"{len(missing)} of its tensors are missing:{collapse_names(missing)}")
    if any(re.match(r"(?:layers|embed_tokens|norm)\.", name) for name in source):
        parts.append("This looks like a base model without its language modelling head.")
    parts.append("Use --debug-params to see all names.")
    return "\n".join(parts)
