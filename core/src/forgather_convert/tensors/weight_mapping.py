"""The mapping of a family as a value: rules, in one direction or the other."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from forgather_convert.errors import ConverterError
from forgather_convert.tensors.names import anonymous, compile_pattern, placeholders
from forgather_convert.tensors.notation import Mapped
from forgather_convert.tensors.operations import Rename, Stack, TensorOperation, Unstack

#: The mapping of the standard decoder, with every parameter that one can have.
STANDARD_WEIGHT_MAPPING: Mapping[str, str] = {
    "model.embed_tokens.weight": "causal_lm.input_encoder.embedding.word_embedding.weight",
    "model.norm.weight": "causal_lm.layer_stack.layer_norm.weight",
    "lm_head.weight": "lm_head.weight",
    **{
        f"model.layers.{{layer}}.{hf}": f"causal_lm.layer_stack.layers.{{layer}}.{fg}"
        for hf, fg in {
            "input_layernorm.weight": "norm1.weight",
            "post_attention_layernorm.weight": "norm2.weight",
            **{
                f"self_attn.{short}_proj.{kind}": f"attention.{long}_linear.{kind}"
                for short, long in {"q": "query", "k": "key", "v": "value", "o": "output"}.items()
                for kind in ("weight", "bias")
            },
            **{
                f"mlp.{name}.{kind}": f"feedforward.{name}.{kind}"
                for name in ("gate_proj", "up_proj", "down_proj")
                for kind in ("weight", "bias")
            },
        }.items()
    },
}


@dataclass(frozen=True)
class Rule:
    """Tensors that become other tensors.

    Attributes:
        sources: Patterns of their names.
        destinations: Patterns of the new names.
        operation: How the new ones are made of the old ones.
    """

    sources: tuple[str, ...]
    destinations: tuple[str, ...]
    operation: TensorOperation

    def inverted(self) -> "Rule":
        return Rule(self.destinations, self.sources, self.operation.inverse())

    @property
    def over(self) -> str | None:
        """The placeholder that only one side has, for series."""
        operation = self.operation
        return operation.over if isinstance(operation, Stack | Unstack) else None


@dataclass(frozen=True)
class WeightMapping:
    """A bijection between tensors, by patterns of their names.

    A placeholder in a pattern, as in ``model.layers.{layer}.mlp.up_proj.weight``, stands
    for a number.
    """

    rules: tuple[Rule, ...]

    @classmethod
    def from_dict(cls, mapping: Mapping[Any, Any], owner: str) -> "WeightMapping":
        """Checks a dictionary that a converter gave.

        Args:
            mapping: Hugging Face names, or tuples of them, to Forgather names or operations.
            owner: The converter, for messages.

        Raises:
            ConverterError: It is not a bijection.
        """
        if not isinstance(mapping, Mapping) or not mapping:
            raise ConverterError(f"{owner} gives no weight mapping: {mapping!r}.")
        rules = tuple(_rule(key, value, owner) for key, value in mapping.items())
        for side in ("sources", "destinations"):
            seen: set[str] = set()
            for pattern in (pattern for rule in rules for pattern in getattr(rule, side)):
                if anonymous(pattern) in seen:
                    raise ConverterError(
                        f"The weight mapping of {owner} is not one to one: {pattern!r} is named "
                        "twice."
                    )
                seen.add(anonymous(pattern))
        return cls(rules)

    def inverted(self) -> "WeightMapping":
        """The mapping of the other direction."""
        return WeightMapping(tuple(rule.inverted() for rule in self.rules))

    def to_dict(self) -> dict[Any, Any]:
        """The dictionary that this mapping could have been made from."""
        result: dict[Any, Any] = {}
        for rule in self.rules:
            key = rule.sources if len(rule.sources) > 1 else rule.sources[0]
            is_rename = isinstance(rule.operation, Rename)
            value = Mapped(rule.destinations, rule.operation)
            result[key] = rule.destinations[0] if is_rename else value
        return result

    def renamer(self) -> Callable[[str], str | None]:
        """A function that maps a name; ``None`` where no rule only renames it."""
        renames = [
            (compile_pattern(rule.sources[0]), rule.destinations[0])
            for rule in self.rules
            if isinstance(rule.operation, Rename)
        ]

        def rename(name: str) -> str | None:
            for pattern, destination in renames:
                match = pattern.fullmatch(name)
                if match:
                    return destination.format_map(match.groupdict())
            return None

        return rename


def _rule(key: Any, value: Any, owner: str) -> Rule:
    sources = (key,) if isinstance(key, str) else key
    mapped = Mapped((value,), Rename()) if isinstance(value, str) else value
    is_tuple = isinstance(sources, tuple) and all(isinstance(name, str) for name in sources)
    if not is_tuple or not sources or not isinstance(mapped, Mapped) or not mapped.names:
        raise ConverterError(
            f"The weight mapping of {owner} maps {key!r} to {value!r}; a name, or a tuple of "
            "names, must become a name or an operation such as split(...)."
        )
    rule = Rule(sources, mapped.names, mapped.operation)
    expected = set(placeholders(sources[0]))
    if isinstance(rule.operation, Stack):
        expected -= {rule.operation.over}
    if isinstance(rule.operation, Unstack):
        expected |= {rule.operation.over}
    is_consistent = all(
        set(placeholders(name)) == set(placeholders(sources[0])) for name in sources
    )
    if not is_consistent or any(set(placeholders(name)) != expected for name in rule.destinations):
        raise ConverterError(
            f"The weight mapping of {owner} cannot be inverted: {key!r} and "
            f"{' and '.join(map(repr, rule.destinations))} have different placeholders."
        )
    return rule
