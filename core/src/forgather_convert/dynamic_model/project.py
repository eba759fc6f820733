"""The description of a dynamic model, which the code generator turns into files."""

import keyword
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from forgather_convert.dynamic_model.capabilities import Capabilities
from forgather_convert.errors import ConverterError
from forgather_convert.source.forgather_signs import DYNAMIC_MODEL_TYPE_PREFIX

#: The standard component of each role, as ``module:Class``.
STANDARD_COMPONENTS: Mapping[str, str] = {
    "embedding": "token_embedding:TokenEmbedding",
    "input_encoder": "input_encoder:InputEncoder",
    "positional_encoding": "rotary_embedding:RotaryEmbedding",
    "layer_stack": "layer_stack:LayerStack",
    "layer": "pre_norm_layer:PreNormLayer",
    "attention": "causal_attention:CausalAttention",
    "mixer": "short_convolution:ShortConvolution",
    "feedforward": "gated_feedforward:GatedFeedforward",
    "norm": "rms_norm:RMSNorm",
    "head": "linear_head:LinearHead",
    "router": "softmax_router:SoftmaxRouter",
    "experts": "gated_experts:GatedExperts",
}

#: Roles that a model has only if a component needs them.
OPTIONAL_ROLES = ("mixer", "router", "experts")

#: Roles that may differ by layer, and the config field with each layer's kind.
LAYER_TYPE_FIELDS: Mapping[str, str] = {
    "layer": "layer_types",
    "attention": "layer_types",
    "mixer": "layer_types",
    "feedforward": "mlp_layer_types",
}

#: Valid names of families, which are used in file names, class names and texts of generated code.
_MODEL_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}")
_COMPONENT = re.compile(r"[a-z_][a-z0-9_]*:[A-Za-z_][A-Za-z0-9_]*")
_KIND = re.compile(r"[A-Za-z0-9_]+")


class RoleBinding(NamedTuple):
    """The component bound to a role.

    Attributes:
        role: A key of :data:`STANDARD_COMPONENTS`.
        kind: The kind of layer that it applies to; ``None`` for all.
        module: The name of the component's module.
        name: The name of its class.
    """

    role: str
    kind: str | None
    module: str
    name: str


@dataclass(frozen=True)
class Project:
    """A dynamic model before its files exist.

    Built from the dictionary that the hook ``create_project_config`` returns:
    ``Project(**dictionary)``.

    Attributes:
        model_type: The family's name, the Hugging Face ``model_type``.
        config: Every hyper-parameter of the model, by its name in ``config.json``.
        components: The non-standard components by role, such as
            ``{"attention": "qk_norm_attention:QKNormAttention"}``. The roles are the
            keys of :data:`STANDARD_COMPONENTS`. A role that differs by layer has a component for
            each kind, as in ``{"feedforward": {"dense": "...", "sparse": "..."}}``;
            :data:`LAYER_TYPE_FIELDS` has the config field with each layer's kind.
        component_paths: Directories with a plugin's own component source files, as a list or
            tuple. Components named in ``components`` are searched there first, then in core.
        capabilities: What the model supports in transformers; by default the same as the family's
            own class.
        has_rope: Whether the config has RoPE parameters. A model without a rotary embedding fills
            the role ``positional_encoding`` with another component.
    """

    model_type: str
    config: Mapping[str, Any]
    components: Mapping[str, str | Mapping[str, str]] = field(default_factory=dict)
    component_paths: Sequence[str | Path] = ()
    capabilities: Capabilities | None = None
    has_rope: bool = True

    def __post_init__(self) -> None:
        if not (isinstance(self.model_type, str) and _MODEL_TYPE.fullmatch(self.model_type)):
            raise ConverterError(
                f"{self.model_type!r} cannot be the model type of a project. A model type must "
                "begin with a letter, and consist of letters, digits, '_', '-' and '.'."
            )
        for name in self.config:
            if not _is_field_name(name):
                raise ConverterError(
                    f"The project config of '{self.model_type}' has a hyper-parameter {name!r}. "
                    "Its name must be valid for a Python argument: letters, digits and '_', "
                    "beginning with a letter, and not a keyword."
                )
        unknown = sorted(set(self.components) - set(STANDARD_COMPONENTS))
        if unknown:
            raise ConverterError(
                f"The project config of '{self.model_type}' names unknown component roles: "
                f"{', '.join(unknown)}. Roles are: {', '.join(STANDARD_COMPONENTS)}."
            )
        for role, chosen in self.components.items():
            self._check_component(role, chosen)

        if isinstance(self.component_paths, (str, Path)):
            raise ConverterError(
                f"The project config of '{self.model_type}' gives {str(self.component_paths)!r} "
                "for 'component_paths'. Write a list of directories."
            )
        for path in self.component_paths:
            if not Path(path).is_dir():
                raise ConverterError(
                    f"The project config of '{self.model_type}' looks for components in {path}, "
                    "which is not a directory. Check that the distribution contains it."
                )

    @property
    def dynamic_model_type(self) -> str:
        """The ``model_type`` in the dynamic model's ``config.json``."""
        return DYNAMIC_MODEL_TYPE_PREFIX + self.model_type

    @property
    def module_name(self) -> str:
        """The family's name as a part of module names."""
        return re.sub(r"[.-]", "_", self.model_type)

    def role_bindings(self) -> tuple[RoleBinding, ...]:
        """The components of all roles, for all kinds of layers."""
        role_bindings = []
        for role, chosen in {**STANDARD_COMPONENTS, **self.components}.items():
            by_kind = {None: chosen} if isinstance(chosen, str) else chosen
            for kind, component in by_kind.items():
                module, _, name = component.partition(":")
                role_bindings.append(RoleBinding(role, kind, module, name))
        return tuple(role_bindings)

    def _check_component(self, role: str, chosen: object) -> None:
        components = [chosen]
        if isinstance(chosen, Mapping):
            components = list(chosen.values())
            field_name = LAYER_TYPE_FIELDS.get(role)
            if field_name is None:
                raise ConverterError(
                    f"The project config of '{self.model_type}' fills the role '{role}' by kinds "
                    f"of layers. Only {', '.join(LAYER_TYPE_FIELDS)} may differ by layer."
                )
            if not chosen or not all(
                isinstance(kind, str) and _KIND.fullmatch(kind) for kind in chosen
            ):
                raise ConverterError(
                    f"The project config of '{self.model_type}' fills the role '{role}' for the "
                    f"kinds {list(chosen)!r}. Name at least one kind, with letters, digits and '_'."
                )
            if not self.config.get(field_name):
                raise ConverterError(
                    f"The project config of '{self.model_type}' fills the role '{role}' by kinds "
                    f"of layers, but has no '{field_name}' with the kind of each layer."
                )
        for component in components:
            if not (isinstance(component, str) and _COMPONENT.fullmatch(component)):
                raise ConverterError(
                    f"The project config of '{self.model_type}' gives {component!r} for the role "
                    f"'{role}'. Write it as 'module:Class', for example "
                    f"'{STANDARD_COMPONENTS[role]}'."
                )


def _is_field_name(name: object) -> bool:
    return (
        isinstance(name, str)
        and re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) is not None
        and not keyword.iskeyword(name)
    )
