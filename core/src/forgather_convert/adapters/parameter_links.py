"""Which parameters of a base model become which ones of its counterpart, name by name."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from forgather_convert.adapters.tensor_names import module_of
from forgather_convert.tensors.names import NamePatterns
from forgather_convert.tensors.operations import Transpose
from forgather_convert.tensors.parameters import ModelParameters
from forgather_convert.tensors.weight_mapping import Rule, WeightMapping


@dataclass(frozen=True)
class Link:
    """Parameters that a rule of the weight mapping makes of others.

    Attributes:
        rule: The rule.
        sources: What they are made of.
        destinations: Their names.
    """

    rule: Rule
    sources: tuple[str, ...]
    destinations: tuple[str, ...]

    @property
    def is_renaming(self) -> bool:
        return not self.rule.operations

    @property
    def is_transposed(self) -> bool:
        """Whether one side has a row for every input, and not for every output."""
        return sum(isinstance(item, Transpose) for item in self.rule.operations) % 2 == 1

    def inverted(self) -> "Link":
        return Link(self.rule.inverted(), self.destinations, self.sources)


@dataclass(frozen=True)
class ParameterLinks:
    """All links of a base model.

    Attributes:
        links: One for every application of a rule that has no series.
        series: The rules that make one tensor of a numbered series, or the reverse.
    """

    links: tuple[Link, ...]
    series: tuple[Rule, ...]

    @classmethod
    def of(cls, mapping: WeightMapping, parameters: ModelParameters) -> "ParameterLinks":
        """Applies a mapping to names.

        Args:
            mapping: From the base model's names to its counterpart's.
            parameters: The counterpart's.
        """
        links, series = [], []
        for rule in mapping.rules:
            if rule.stacks is not None or rule.unstacks is not None:
                series.append(rule)
                continue
            pattern = NamePatterns([(rule.destinations[0], rule)])
            for name in (*parameters.shapes, *parameters.tied):
                found = pattern.find(name)
                if found is None:
                    continue
                sources, destinations = (
                    tuple(each.format_map(found[1]) for each in names)
                    for names in (rule.sources, rule.destinations)
                )
                if all(each in parameters for each in destinations):
                    links.append(Link(rule, sources, destinations))
        return cls(tuple(links), tuple(series))

    def inverted(self) -> "ParameterLinks":
        """The links of the other direction."""
        return ParameterLinks(
            tuple(link.inverted() for link in self.links),
            tuple(rule.inverted() for rule in self.series),
        )

    @cached_property
    def by_source(self) -> Mapping[str, Link]:
        """The link of every parameter of the base model."""
        return {name: link for link in self.links for name in link.sources}

    @cached_property
    def source_modules(self) -> tuple[str, ...]:
        """The base model's modules: those with parameters, and those around them."""
        return _modules(self.by_source)

    @cached_property
    def destination_modules(self) -> tuple[str, ...]:
        """The counterpart's."""
        return _modules(self.destination_parameters)

    @cached_property
    def destination_parameters(self) -> tuple[str, ...]:
        return tuple(name for link in self.links for name in link.destinations)

    def is_in_series(self, parameter: str) -> bool:
        """Whether a parameter of the base model is one of a series, or stands for one."""
        return parameter in NamePatterns(
            (name, rule) for rule in self.series for name in rule.sources
        )

    def counterparts(self, module: str) -> tuple[str, ...]:
        """The modules that have what the weight of a module of the base model becomes."""
        return tuple(map(module_of, self.by_source[f"{module}.weight"].destinations))


def _modules(parameters: Iterable[str]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for parameter in parameters:
        module = module_of(parameter)
        while module and module not in found:
            found[module] = None
            module = module_of(module)
    return tuple(found)
