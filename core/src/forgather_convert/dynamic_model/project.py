"""What a dynamic model is made of: a value that the code generator turns into files."""

import keyword
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forgather_convert.errors import ConverterError

#: The prefix of ``model_type`` in a dynamic model's config; the family follows.
DYNAMIC_MODEL_TYPE_PREFIX = "forgather-dynamic-causal-"

#: The component that fills each role, as ``module:Class``, unless a project says otherwise.
STANDARD_COMPONENTS: Mapping[str, str] = {
    "embedding": "token_embedding:TokenEmbedding",
    "input_encoder": "input_encoder:InputEncoder",
    "positional_encoding": "rotary_embedding:RotaryEmbedding",
    "layer_stack": "layer_stack:LayerStack",
    "layer": "pre_norm_layer:PreNormLayer",
    "attention": "causal_attention:CausalAttention",
    "feedforward": "gated_feedforward:GatedFeedforward",
    "norm": "rms_norm:RMSNorm",
}

#: Names of families: they are in file names, in classes and in texts of the generated code.
_MODEL_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}")
_COMPONENT = re.compile(r"[a-z_][a-z0-9_]*:[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Project:
    """A dynamic model before its files exist.

    Built from the dictionary that the hook ``create_project_config`` gives:
    ``Project(**dictionary)``.

    Attributes:
        model_type: The family's name, the Hugging Face ``model_type``.
        config: Every hyper-parameter of the model, by its name in ``config.json``.
        components: Roles that are not filled by the standard component, as
            ``{"attention": "qk_norm_attention:QKNormAttention"}``. The roles are the
            keys of :data:`STANDARD_COMPONENTS`.
        component_paths: Directories with component source files of a plugin's own, as a
            list or tuple. A component that ``components`` names is looked for in them
            first, then in core's.
    """

    model_type: str
    config: Mapping[str, Any]
    components: Mapping[str, str] = field(default_factory=dict)
    component_paths: Sequence[str | Path] = ()

    def __post_init__(self) -> None:
        if not (isinstance(self.model_type, str) and _MODEL_TYPE.fullmatch(self.model_type)):
            raise ConverterError(
                f"{self.model_type!r} cannot be the model type of a project. A model type begins "
                "with a letter, and consists of letters, digits, '_', '-' and '.'."
            )
        for name in self.config:
            if not _is_field_name(name):
                raise ConverterError(
                    f"The project config of '{self.model_type}' has a hyper-parameter {name!r}. "
                    "Its name must be one that an argument in Python can have: letters, digits "
                    "and '_', beginning with a letter, and no keyword."
                )
        unknown = sorted(set(self.components) - set(STANDARD_COMPONENTS))
        if unknown:
            raise ConverterError(
                f"The project config of '{self.model_type}' names unknown component roles: "
                f"{', '.join(unknown)}. Roles are: {', '.join(STANDARD_COMPONENTS)}."
            )
        for role, component in self.components.items():
            if not _COMPONENT.fullmatch(component):
                raise ConverterError(
                    f"The project config of '{self.model_type}' gives {component!r} for the role "
                    f"'{role}'. Write it as 'module:Class', for example "
                    f"'{STANDARD_COMPONENTS[role]}'."
                )

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

    def resolved_components(self) -> dict[str, tuple[str, str]]:
        """For every role, the module and the class that fill it."""
        chosen = {**STANDARD_COMPONENTS, **self.components}
        pairs = {role: component.partition(":") for role, component in chosen.items()}
        return {role: (module, name) for role, (module, _, name) in pairs.items()}


def _is_field_name(name: object) -> bool:
    return (
        isinstance(name, str)
        and re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) is not None
        and not keyword.iskeyword(name)
    )
