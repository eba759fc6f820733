"""Assembles a model from its components: each gets the arguments that its constructor names."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from forgather_convert.dynamic_model.component_files import Component, Symbol
from forgather_convert.dynamic_model.project import (
    LAYER_TYPE_FIELDS,
    OPTIONAL_ROLES,
    STANDARD_COMPONENTS,
    Project,
)
from forgather_convert.errors import ConverterError

#: The config fields for a norm's ``eps``; the first one that has a value is used.
NORM_EPSILONS = (
    "rms_norm_eps",
    "layer_norm_eps",
    "layer_norm_epsilon",
    "norm_epsilon",
    "norm_eps",
)
#: The name of the constructor argument for a function that makes norms of any size.
MAKE_NORM = "make_norm"

_LINE_LENGTH = 100
#: Roles that are filled separately in every layer.
_IN_LAYERS = {*LAYER_TYPE_FIELDS, *OPTIONAL_ROLES}
#: Styles of tensor parallelism that transformers 4 also supports.
_STYLES_SINCE_4 = ("colwise", "rowwise", "colwise_rep", "rowwise_rep")
#: The modules of roles in the model whose parts may be divided.
_PLACES = {
    "embedding": "input_encoder.embedding",
    "attention": "layer_stack.layers.*.attention",
    "feedforward": "layer_stack.layers.*.feedforward",
}


@dataclass(frozen=True)
class TensorParallelPlan:
    """How a model is divided among devices: a style for each module name in the base model.

    Attributes:
        config: The config's ``base_model_tp_plan``.
        model: The additions of the model class, for transformers 5 only.
    """

    config: Mapping[str, str]
    model: Mapping[str, str]


@dataclass(frozen=True)
class Call:
    """A call in the generated code.

    Attributes:
        function: The function.
        arguments: The arguments; those without a name are positional.
    """

    function: str
    arguments: tuple[tuple[str | None, "Call | str"], ...] = ()

    def render(self, indent: int, start: int = 0) -> str:
        """The call in the style of a formatter."""
        nested = sum(isinstance(value, Call) for _, value in self.arguments)
        line = f"{self.function}({', '.join(self._arguments(indent))})"
        if nested <= 2 and "\n" not in line and indent + start + len(line) <= _LINE_LENGTH:
            return line
        inner = indent + 4
        lines = "".join(f"{' ' * inner}{argument},\n" for argument in self._arguments(inner))
        return f"{self.function}(\n{lines}{' ' * indent})"

    def _arguments(self, indent: int) -> Iterator[str]:
        for name, value in self.arguments:
            start = "" if name is None else f"{name}="
            text = value if isinstance(value, str) else value.render(indent, len(start) + 1)
            yield start + text


@dataclass(frozen=True)
class Variant:
    """The component that fills a role for one kind of layer."""

    kind: str
    call: Call


@dataclass(frozen=True)
class Assembly:
    """The construction of a model's parts.

    Attributes:
        norm: The call that makes a norm; its size is the argument ``size``.
        by_kind: The components of each role that differs by layer.
        layer: The call that makes the layer ``layer_idx``.
        input_encoder: The call that makes this part, like the next three.
        positional_encoding: See ``input_encoder``.
        layer_stack: See ``input_encoder``.
        head: See ``input_encoder``.
    """

    norm: Call
    by_kind: Mapping[str, tuple[Variant, ...]]
    layer: Call
    input_encoder: Call
    positional_encoding: Call
    layer_stack: Call
    head: Call


def assemble(
    project: Project,
    components: Mapping[str, Mapping[str | None, Component]],
    names: Mapping[Symbol, str],
) -> Assembly:
    """Finds the arguments of each component.

    Raises:
        ConverterError: A constructor has an argument that cannot be supplied.
    """
    return _Assembler(project, components, names).assembly()


def tensor_parallel_plan(
    components: Mapping[str, Mapping[str | None, Component]],
) -> TensorParallelPlan:
    """The tensor-parallel plan that the components declare."""
    plan = {
        f"{key}.{name}": style
        for role, key in _PLACES.items()
        for component in components[role].values()
        for name, style in component.source.tp_plan.items()
    }
    common = {name: style for name, style in plan.items() if style in _STYLES_SINCE_4}
    others = {name: style for name, style in plan.items() if name not in common}
    return TensorParallelPlan(common, others)


@dataclass(frozen=True)
class _Assembler:
    project: Project
    components: Mapping[str, Mapping[str | None, Component]]
    names: Mapping[Symbol, str]

    def assembly(self) -> Assembly:
        by_kind = {
            role: tuple(
                Variant(kind, self._call(role, component, ()))
                for kind, component in components.items()
                if kind is not None
            )
            for role, components in self.components.items()
        }
        return Assembly(
            norm=self._norm(),
            by_kind={role: variants for role, variants in by_kind.items() if variants},
            layer=self._role("layer", ()),
            input_encoder=self._role("input_encoder", ()),
            positional_encoding=self._role("positional_encoding", ()),
            layer_stack=self._role("layer_stack", ()),
            head=self._role("head", ()),
        )

    def _role(self, role: str, asking: tuple[str, ...]) -> Call:
        """The call that makes the component of a role, for the components that need it."""
        if role in asking:
            raise self._error(
                asking[-1], f"asks for '{role}', which asks for it in turn: {' -> '.join(asking)}"
            )
        components = self.components[role]
        if None in components:
            return self._call(role, components[None], asking)
        return Call(f"build_{role}", ((None, "layer_idx"),))

    def _call(self, role: str, component: Component, asking: tuple[str, ...]) -> Call:
        arguments: list[tuple[str | None, Call | str]] = []
        is_by_position = True
        for index, argument in enumerate(component.source.arguments):
            value = self._value(argument.name, role, (*asking, role))
            if value is None and argument.is_required:
                raise self._error(
                    role,
                    f"asks for '{argument.name}', which is neither 'config', 'layer_idx' (within "
                    f"a layer), a role, nor the name of a norm. Roles are: "
                    f"{', '.join(STANDARD_COMPONENTS)}",
                )
            if value is None:
                continue
            is_by_position &= argument.name == ("config", "layer_idx")[min(index, 1)]
            arguments.append((None if is_by_position else argument.name, value))
        return Call(self.names[component.symbol], tuple(arguments))

    def _value(self, name: str, role: str, asking: tuple[str, ...]) -> Call | str | None:
        is_in_layer = role in _IN_LAYERS
        if name in ("config", MAKE_NORM):
            return name
        if name == "layer_idx":
            return name if is_in_layer else None
        if name == "layers":
            return None if is_in_layer else name
        if name in STANDARD_COMPONENTS and name != "norm":
            return self._role(name, asking) if is_in_layer or name not in _IN_LAYERS else None
        return Call(MAKE_NORM) if "norm" in name else None

    def _norm(self) -> Call:
        (component,) = self.components["norm"].values()
        first, *others = component.source.arguments or (None,)
        if first is None:
            raise self._error("norm", "takes no argument; the first one must be its size")
        arguments: list[tuple[str | None, Call | str]] = [(None, "size")]
        for argument in others:
            if argument.name == "eps":
                arguments.append(("eps", f"config.{self._epsilon()}"))
            elif argument.name == "config":
                arguments.append(("config", "config"))
            elif argument.is_required:
                raise self._error(
                    "norm", f"asks for '{argument.name}'; a norm gets its size, 'eps' and 'config'"
                )
        return Call(self.names[component.symbol], tuple(arguments))

    def _epsilon(self) -> str:
        for name in NORM_EPSILONS:
            if self.project.config.get(name) is not None:
                return name
        raise self._error(
            "norm",
            f"asks for 'eps', and the config has none of {', '.join(NORM_EPSILONS)}. Add the "
            "field that it is to 'hyperparameters'",
        )

    def _error(self, role: str, what: str) -> ConverterError:
        symbols = {component.symbol for component in self.components[role].values()}
        names = ", ".join(f"{symbol.module}:{symbol.name}" for symbol in sorted(symbols))
        return ConverterError(
            f"The component for the role '{role}' of '{self.project.model_type}' ({names}) {what}."
        )
