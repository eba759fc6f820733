"""A family's weight mapping as a value: rules in one direction."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from forgather_convert.errors import ConverterError
from forgather_convert.tensors.names import NamePatterns, placeholders, strip_placeholders
from forgather_convert.tensors.notation import Step, WeightMappingDict
from forgather_convert.tensors.operations import (
    Operation,
    Stack,
    Unstack,
    check_composition,
)

#: The Hugging Face name of the layers of the standard decoder.
HF_LAYERS = "model.layers"
#: The Forgather name of a layer.
FORGATHER_LAYER = "causal_lm.layer_stack.layers.{layer}"

_MODULES = {
    "model.norm": "causal_lm.layer_stack.layer_norm",
    "lm_head": "lm_head",
    **{
        f"{HF_LAYERS}.{{layer}}.{hf}": f"{FORGATHER_LAYER}.{fg}"
        for hf, fg in {
            "input_layernorm": "norm1",
            "post_attention_layernorm": "norm2",
            "self_attn.q_proj": "attention.query_linear",
            "self_attn.k_proj": "attention.key_linear",
            "self_attn.v_proj": "attention.value_linear",
            "self_attn.o_proj": "attention.output_linear",
            "self_attn.q_norm": "attention.q_norm",
            "self_attn.k_norm": "attention.k_norm",
            "mlp.gate_proj": "feedforward.gate_proj",
            "mlp.up_proj": "feedforward.up_proj",
            "mlp.down_proj": "feedforward.down_proj",
        }.items()
    },
}

#: The mapping of the standard decoder, with all parameters that it can have.
STANDARD_WEIGHT_MAPPING: Mapping[str, str] = {
    "model.embed_tokens.weight": "causal_lm.input_encoder.embedding.word_embedding.weight",
    **{
        f"{hf}.{kind}": f"{fg}.{kind}" for hf, fg in _MODULES.items() for kind in ("weight", "bias")
    },
}


@dataclass(frozen=True)
class Rule:
    """A rule that turns tensors into other tensors.

    Attributes:
        sources: Patterns of their names.
        destinations: Patterns of the new names.
        operations: The operations from the old to the new tensors; empty if they are only renamed.
    """

    sources: tuple[str, ...]
    destinations: tuple[str, ...]
    operations: tuple[Operation, ...] = ()

    def inverted(self) -> "Rule":
        inverse = tuple(operation.inverse() for operation in reversed(self.operations))
        return Rule(self.destinations, self.sources, inverse)

    @property
    def stacks(self) -> str | None:
        """The placeholder that only the sources have, which are a series."""
        return next((item.placeholder for item in self.operations if isinstance(item, Stack)), None)

    @property
    def unstacks(self) -> str | None:
        """The placeholder that only the destinations have, which are a series."""
        return next(
            (item.placeholder for item in self.operations if isinstance(item, Unstack)), None
        )


@dataclass(frozen=True)
class WeightMapping:
    """A bijection between tensors, by patterns of their names.

    A placeholder in a pattern, such as ``model.layers.{layer}.mlp.up_proj.weight``, matches a
    number.
    """

    rules: tuple[Rule, ...]

    @classmethod
    def from_dict(cls, mapping: WeightMappingDict, converter_name: str) -> "WeightMapping":
        """Checks a dictionary from a converter.

        Args:
            mapping: Hugging Face names, or tuples of them, to Forgather names or operations.
            converter_name: The converter, for messages.

        Raises:
            ConverterError: It is not a bijection.
        """
        if not isinstance(mapping, Mapping) or not mapping:
            raise ConverterError(f"{converter_name} returns no weight mapping: {mapping!r}.")
        rules = tuple(_rule(key, value, converter_name) for key, value in mapping.items())
        for side in ("sources", "destinations"):
            seen: set[str] = set()
            for pattern in (pattern for rule in rules for pattern in getattr(rule, side)):
                if strip_placeholders(pattern) in seen:
                    raise ConverterError(
                        f"The weight mapping of {converter_name} is not one to one: {pattern!r} is "
                        "named twice."
                    )
                seen.add(strip_placeholders(pattern))
        return cls(rules)

    def inverted(self) -> "WeightMapping":
        """The mapping for the other direction."""
        return WeightMapping(tuple(rule.inverted() for rule in self.rules))

    def renamed(
        self, source: Callable[[str], str], destination: Callable[[str], str]
    ) -> "WeightMapping":
        """The same mapping between tensors with other names."""
        return WeightMapping(
            tuple(
                replace(
                    rule,
                    sources=tuple(map(source, rule.sources)),
                    destinations=tuple(map(destination, rule.destinations)),
                )
                for rule in self.rules
            )
        )

    def to_dict(self) -> WeightMappingDict:
        """The dictionary that this mapping could have been made from."""
        result: dict[str | tuple[str, ...], str | list[Step]] = {}
        for rule in self.rules:
            key = rule.sources if len(rule.sources) > 1 else rule.sources[0]
            steps = [Step((), operation) for operation in rule.operations]
            if steps:
                steps[-1] = Step(rule.destinations, rule.operations[-1])
            result[key] = steps or rule.destinations[0]
        return result

    @cached_property
    def source_patterns(self) -> NamePatterns[Rule]:
        """The names that source tensors can have, each with its rule."""
        return NamePatterns((pattern, rule) for rule in self.rules for pattern in rule.sources)

    def renamer(self) -> Callable[[str], str | None]:
        """A function that maps a name, or returns ``None`` if no rule merely renames it."""
        renames = NamePatterns(
            (rule.sources[0], rule.destinations[0]) for rule in self.rules if not rule.operations
        )

        def rename(name: str) -> str | None:
            match = renames.find(name)
            if match is None:
                return None
            destination, numbers = match
            return destination.format_map(numbers)

        return rename


def _rule(key: object, value: object, converter_name: str) -> Rule:
    """The rule for an entry of a converter's dictionary, which may have any type."""
    sources = (key,) if isinstance(key, str) else key
    steps = [value] if isinstance(value, Step) else value
    destinations: object = (value,)
    operations: tuple[Operation, ...] = ()
    if isinstance(steps, list | tuple) and steps and all(isinstance(s, Step) for s in steps):
        destinations = () if any(step.names for step in steps[:-1]) else steps[-1].names
        operations = tuple(step.operation for step in steps)
    if not (_are_names(sources) and _are_names(destinations)):
        raise ConverterError(
            f"The weight mapping of {converter_name} maps {key!r} to {value!r}. A name or a tuple "
            "of names must be mapped to a name, an operation such as split(...), or a list of "
            "operations, the last of which has the names."
        )
    assert isinstance(sources, tuple)
    assert isinstance(destinations, tuple)
    rule = Rule(sources, destinations, operations)
    places = f"{key!r} and {' and '.join(map(repr, destinations))}"
    try:
        check_composition(operations, len(sources), len(destinations))
        check_composition(rule.inverted().operations, len(destinations), len(sources))
    except ConverterError as error:
        raise ConverterError(
            f"The weight mapping of {converter_name} cannot lead from one to the other of "
            f"{places}: {error}."
        ) from error
    expected = set(placeholders(sources[0]))
    if rule.stacks is not None:
        expected -= {rule.stacks}
    if rule.unstacks is not None:
        expected |= {rule.unstacks}
    is_consistent = all(
        set(placeholders(name)) == set(placeholders(sources[0])) for name in sources
    )
    is_series = rule.stacks is None or rule.stacks in placeholders(sources[0])
    if (
        not is_consistent
        or not is_series
        or any(set(placeholders(name)) != expected for name in destinations)
    ):
        raise ConverterError(
            f"The weight mapping of {converter_name} cannot be inverted: {places} have different "
            "placeholders."
        )
    return rule


def _are_names(value: object) -> bool:
    return (
        isinstance(value, tuple)
        and bool(value)
        and all(isinstance(name, str) and name for name in value)
    )
