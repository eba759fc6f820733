"""Links the parameters of a base model to those of its counterpart, by name."""

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
    """Parameters that a rule of the weight mapping turns into others.

    Attributes:
        rule: The rule.
        sources: Their names in the base model.
        destinations: The names in the counterpart.
    """

    rule: Rule
    sources: tuple[str, ...]
    destinations: tuple[str, ...]

    @property
    def is_renaming(self) -> bool:
        return not self.rule.operations

    @property
    def is_transposed(self) -> bool:
        """Whether one side has a row for every input instead of every output."""
        return sum(isinstance(item, Transpose) for item in self.rule.operations) % 2 == 1

    def inverted(self) -> "Link":
        return Link(self.rule.inverted(), self.destinations, self.sources)


@dataclass(frozen=True)
class ParameterLinks:
    """All links of a base model.

    Attributes:
        links: One link for every application of a rule without a series.
        series: The rules that turn a numbered series into one tensor, or vice versa.
    """

    links: tuple[Link, ...]
    series: tuple[Rule, ...]

    @classmethod
    def of(cls, mapping: WeightMapping, parameters: ModelParameters) -> "ParameterLinks":
        """Applies a mapping to names.

        Args:
            mapping: The mapping from the base model's names to its counterpart's.
            parameters: The counterpart's parameters.
        """
        links, series = [], []
        for rule in mapping.rules:
            if rule.stacks is not None or rule.unstacks is not None:
                series.append(rule)
                continue
            pattern = NamePatterns([(rule.destinations[0], rule)])
            for name in (*parameters.shapes, *parameters.tied):
                match = pattern.find(name)
                if match is None:
                    continue
                sources, destinations = (
                    tuple(each.format_map(match[1]) for each in names)
                    for names in (rule.sources, rule.destinations)
                )
                if all(each in parameters for each in destinations):
                    links.append(Link(rule, sources, destinations))
        return cls(tuple(links), tuple(series))

    def inverted(self) -> "ParameterLinks":
        """The links in the other direction."""
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
        """The base model's modules: those with parameters, and those that contain them."""
        return _modules(self.by_source)

    @cached_property
    def destination_modules(self) -> tuple[str, ...]:
        """The counterpart's modules."""
        return _modules(self.destination_parameters)

    @cached_property
    def destination_parameters(self) -> tuple[str, ...]:
        return tuple(name for link in self.links for name in link.destinations)

    def is_in_series(self, parameter: str) -> bool:
        """Whether a parameter of the base model belongs to a series, or becomes one."""
        return parameter in NamePatterns(
            (name, rule) for rule in self.series for name in rule.sources
        )

    def counterparts(self, module: str) -> tuple[str, ...]:
        """The counterpart's modules that contain the weight of a module of the base model."""
        return tuple(map(module_of, self.by_source[f"{module}.weight"].destinations))


def _modules(parameters: Iterable[str]) -> tuple[str, ...]:
    modules: dict[str, None] = {}
    for parameter in parameters:
        module = module_of(parameter)
        while module and module not in modules:
            modules[module] = None
            module = module_of(module)
    return tuple(modules)
