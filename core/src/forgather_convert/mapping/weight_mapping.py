"""Weight mappings: which Hugging Face tensor is which Forgather tensor."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from forgather_convert.errors import ConverterError

_PLACEHOLDER = re.compile(r"\{(\w+)\}")

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
class WeightMapping:
    """A bijection between names with numbered placeholders.

    Attributes:
        patterns: Pairs of patterns, as ``("model.layers.{layer}.mlp.up_proj.weight",
            "causal_lm.layer_stack.layers.{layer}.feedforward.up_proj.weight")``. A
            placeholder stands for a number.
    """

    patterns: tuple[tuple[str, str], ...]

    @classmethod
    def from_dict(cls, mapping: Mapping[str, str], owner: str) -> "WeightMapping":
        """Checks a dictionary that a converter gave.

        Raises:
            ConverterError: It is not a bijection.
        """
        if not isinstance(mapping, Mapping) or not mapping:
            raise ConverterError(f"{owner} gives no weight mapping: {mapping!r}.")
        destinations: dict[str, str] = {}
        for source, destination in mapping.items():
            if not isinstance(source, str) or not isinstance(destination, str):
                raise ConverterError(
                    f"The weight mapping of {owner} maps {source!r} to {destination!r}; both must "
                    "be names."
                )
            if sorted(_PLACEHOLDER.findall(source)) != sorted(_PLACEHOLDER.findall(destination)):
                raise ConverterError(
                    f"The weight mapping of {owner} cannot be inverted: {source!r} and "
                    f"{destination!r} have different placeholders."
                )
            shape = _PLACEHOLDER.sub("{}", destination)
            if shape in destinations:
                raise ConverterError(
                    f"The weight mapping of {owner} is not one to one: {destinations[shape]!r} and "
                    f"{source!r} both become {destination!r}."
                )
            destinations[shape] = source
        return cls(tuple(mapping.items()))

    def inverted(self) -> "WeightMapping":
        """The mapping of the other direction."""
        return WeightMapping(tuple((fg, hf) for hf, fg in self.patterns))

    def renamer(self) -> Callable[[str], str | None]:
        """A function that maps a name, or gives ``None`` where no pattern fits."""
        rules = [(_compile(source), destination) for source, destination in self.patterns]

        def rename(name: str) -> str | None:
            for pattern, destination in rules:
                match = pattern.fullmatch(name)
                if match:
                    return destination.format_map(match.groupdict())
            return None

        return rename


def _compile(pattern: str) -> re.Pattern[str]:
    parts = _PLACEHOLDER.split(pattern)
    seen: set[str] = set()
    expression = re.escape(parts[0])
    for name, text in zip(parts[1::2], parts[2::2], strict=True):
        expression += f"(?P={name})" if name in seen else rf"(?P<{name}>0|[1-9]\d*)"
        expression += re.escape(text)
        seen.add(name)
    return re.compile(expression)


_NUMBERED = re.compile(r"(?<=\.)\d+(?=\.)")


def collapse_names(names: Iterable[str], limit: int = 8) -> str:
    """Names for a message, where those that differ in a number only become one line.

    ``model.layers.{0..31}.mlp.up_proj.weight``
    """
    groups: dict[str, list[int]] = {}
    for name in names:
        match = _NUMBERED.search(name)
        key = name if match is None else _NUMBERED.sub("{}", name, count=1)
        groups.setdefault(key, []).append(-1 if match is None else int(match[0]))
    lines = []
    for key, numbers in groups.items():
        low, high = min(numbers), max(numbers)
        span = str(low) if low == high else f"{{{low}..{high}}}"
        lines.append(key.replace("{}", span))
    shown = "".join(f"\n  {line}" for line in lines[:limit])
    return shown + (f"\n  and {len(lines) - limit} more" if len(lines) > limit else "")
