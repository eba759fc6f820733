"""Finds the source of every destination tensor, or explains why there is none."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from forgather_convert.errors import MappingError, UnsupportedModelError
from forgather_convert.tensors.dtypes import WEIGHT_DTYPES
from forgather_convert.tensors.evaluation import have_equal_bits
from forgather_convert.tensors.expressions import Expression, leaves, name_of
from forgather_convert.tensors.names import collapse_names
from forgather_convert.tensors.operations import apply_operations
from forgather_convert.tensors.parameters import ModelParameters
from forgather_convert.tensors.tensor_ref import format_shape
from forgather_convert.tensors.weight_mapping import Rule, WeightMapping

#: Logs the names of both models, for ``--debug-params``.
logger = logging.getLogger(__name__)
parameter_logger = logging.getLogger("forgather_convert.parameters")


@dataclass(frozen=True)
class TensorMatch:
    """Which source tensors become which destination tensors.

    Attributes:
        expressions: The expression of every destination tensor.
        source_state: The source's tensors, by the names that its model expects.
    """

    expressions: Mapping[str, Expression]
    source_state: Mapping[str, Expression]


@dataclass
class _Group:
    """The tensors that a rule is applied to together.

    Attributes:
        rule: The rule.
        numbers: The values of its placeholders, except that of a series.
        length: The length of the series; 1 for a rule without one.
    """

    rule: Rule
    numbers: Mapping[str, str]
    length: int = 1

    def source_names(self) -> list[tuple[str, ...]]:
        """The names of all required source tensors, by number of the series."""
        if self.rule.stacks is None:
            return [_formatted(self.rule.sources, self.numbers)]
        return [
            _formatted(self.rule.sources, {**self.numbers, self.rule.stacks: str(index)})
            for index in range(self.length)
        ]

    def destination_names(self, index: int) -> tuple[str, ...]:
        """The names of the destination tensors for a number of the series."""
        if self.rule.unstacks is None:
            return _formatted(self.rule.destinations, self.numbers)
        return _formatted(self.rule.destinations, {**self.numbers, self.rule.unstacks: str(index)})


@dataclass(frozen=True)
class PartialMatch:
    """The result of applying a mapping to tensors, even if the model is incomplete.

    Attributes:
        expressions: The expressions of destination tensors, by their names.
        places: The names of the destination tensors that each source tensor becomes a part of.
        unmapped: Source tensors that correspond to nothing in the destination.
        missing: Source tensors that a rule also needs, and destination tensors without a source.
    """

    expressions: dict[str, Expression]
    places: Mapping[str, list[str]]
    unmapped: list[str]
    missing: list[str]


def match_partially(
    source: Mapping[str, Expression],
    mapping: WeightMapping,
    parameters: ModelParameters,
    config: Mapping[str, Any],
) -> PartialMatch:
    """Applies a mapping as far as possible; see :func:`match_tensors` for the arguments.

    Raises:
        MappingError: An operation does not fit the tensors that it is applied to.
    """
    for rule in mapping.rules:
        logger.debug(
            "Mapping %s -> %s%s",
            ", ".join(rule.sources),
            ", ".join(rule.destinations),
            "".join(f" {operation}" for operation in rule.operations),
        )
    groups, unmapped = _group(source, mapping)
    expressions: dict[str, Expression] = {}
    missing: list[str] = []
    places: dict[str, list[str]] = {name: [] for name in source}
    for group in groups:
        names = group.source_names()
        flat = [name for part in names for name in part]
        absent = [name for name in flat if name not in source]
        if absent:
            missing += absent
            continue
        first = group.destination_names(0)
        destinations = [first]
        made: list[tuple[Expression, ...]] = []
        if all(name in parameters for name in first):
            sources = [tuple(source[name] for name in part) for part in names]
            shapes = [parameters.shape_of(name) for name in first]
            made = apply_operations(group.rule.operations, sources, shapes, config)
            destinations = [group.destination_names(index) for index in range(len(made))]
        reached = [name for part in destinations for name in part]
        for name in flat:
            places[name] += reached
        if not made or not all(name in parameters for name in reached):
            unmapped += flat
            continue
        for part, values in zip(destinations, made, strict=True):
            expressions.update(zip(part, values, strict=True))
    known = expressions.keys() | {name for names in places.values() for name in names}
    missing += [name for name in parameters.shapes if name not in known]
    return PartialMatch(expressions, places, unmapped, missing)


def match_tensors(
    source: Mapping[str, Expression],
    mapping: WeightMapping,
    parameters: ModelParameters,
    config: Mapping[str, Any],
    origin: str,
) -> TensorMatch:
    """Matches a checkpoint's tensors with the parameters of a model.

    Raises:
        MappingError: Tensors are unmapped or missing, or have a wrong shape.
        UnsupportedModelError: Tensors are quantized.
    """
    refuse_quantized(source, origin)
    match = match_partially(source, mapping, parameters, config)
    expressions, missing = match.expressions, match.missing
    _log_names(source, match.places, parameters)
    _check_shapes(expressions, parameters)
    state = _resolve_tied(source, expressions, parameters, mapping, origin)
    missing = [name for name in missing if name not in expressions]
    if match.unmapped or missing:
        raise MappingError(_mismatch_message(origin, match.unmapped, missing, source))
    return TensorMatch(
        expressions={name: expressions[name] for name in parameters.shapes},
        source_state=state,
    )


def _check_shapes(expressions: Mapping[str, Expression], parameters: ModelParameters) -> None:
    for name, expression in expressions.items():
        expected = parameters.shape_of(name)
        if expression.shape != expected:
            raise MappingError(
                f"{name_of(expression)} has the shape {format_shape(expression.shape)}, but the "
                f"config makes '{name}' {format_shape(expected)}. "
                "Check that config and weights belong to the same model."
            )


def _group(
    source: Mapping[str, Expression], mapping: WeightMapping
) -> tuple[list[_Group], list[str]]:
    """Finds the rule for every tensor; returns the groups, and the tensors without a rule."""
    groups: dict[tuple[Any, ...], _Group] = {}
    unmapped = []
    for name in source:
        match = mapping.source_patterns.find(name)
        if match is None:
            unmapped.append(name)
            continue
        rule, numbers = match
        index = 0 if rule.stacks is None else int(numbers.pop(rule.stacks))
        group = groups.setdefault((rule.sources, *sorted(numbers.items())), _Group(rule, numbers))
        group.length = max(group.length, min(index, len(source)) + 1)
    return list(groups.values()), unmapped


def _formatted(patterns: Iterable[str], numbers: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(pattern.format_map(numbers) for pattern in patterns)


def _log_names(
    source: Mapping[str, Expression], places: Mapping[str, list[str]], parameters: ModelParameters
) -> None:
    for name, destinations in places.items():
        shape = format_shape(source[name].shape)
        parameter_logger.info("%s %s -> %s", name, shape, ", ".join(destinations) or "(no place)")
    reached = {name for destinations in places.values() for name in destinations}
    for name in sorted(set(parameters.shapes) - reached):
        parameter_logger.info("(none) -> %s %s", name, format_shape(parameters.shapes[name]))


def _resolve_tied(
    source: Mapping[str, Expression],
    expressions: dict[str, Expression],
    parameters: ModelParameters,
    mapping: WeightMapping,
    origin: str,
) -> dict[str, Expression]:
    """Keeps one of every tied pair; returns the source's tensors by their first names."""
    state = dict(source)
    proper_name = mapping.inverted().renamer()
    for second, first in parameters.tied.items():
        if second not in expressions:
            continue
        copy = expressions.pop(second)
        if first not in expressions:
            # It is only stored under the second name, where transformers 4 would not find it.
            expressions[first] = copy
            second_name, first_name = proper_name(second), proper_name(first)
            if first_name is not None and second_name in state:
                state[first_name] = state.pop(second_name)
        elif not have_equal_bits(copy, expressions[first]):
            raise MappingError(
                f"The config of {origin} ties {name_of(copy)} to {name_of(expressions[first])}, "
                "but the two differ. transformers 4 would "
                "ignore the first and transformers 5 would use it. Set tie_word_embeddings to "
                "false in config.json to keep both, or delete the outdated tensor."
            )
    return state


def refuse_quantized(tensors: Mapping[str, Expression], origin: str) -> None:
    """Refuses quantized tensors.

    Raises:
        UnsupportedModelError: There are quantized tensors.
    """
    quantized = [name for name, value in tensors.items() if value.dtype not in WEIGHT_DTYPES]
    if quantized:
        kinds = ", ".join(sorted({tensors[name].dtype for name in quantized}))
        raise UnsupportedModelError(
            f"{origin} has weights of the type {kinds}, and its config does not describe how they "
            f"are quantized, so they cannot be dequantized:"
            f"{collapse_names(quantized)}\nUse the model's unquantized weights."
        )


def _mismatch_message(
    origin: str, unmapped: list[str], missing: list[str], source: Mapping[str, Expression]
) -> str:
    parts = [f"The weights in {origin} do not fit the model that its config describes."]
    if unmapped:
        names = collapse_names(unmapped)
        parts.append(f"Tensors that are not part of it ({len(unmapped)}):{names}")
    if missing:
        parts.append(f"Tensors that are missing ({len(missing)}):{collapse_names(missing)}")
    stored = ((name, ref) for name, value in source.items() for ref in leaves(value))
    if missing and any(name.endswith(f".{ref.name}") for name, ref in stored):
        parts.append("This looks like a base model without a language modelling head.")
    parts.append("Use --debug-params to see all names.")
    return "\n".join(parts)
