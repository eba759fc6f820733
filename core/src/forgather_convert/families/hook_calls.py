"""Calls of one converter's hooks.

Every conversion has its own plugin manager, on which the base converter and one family are
registered, so that no other family can answer.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from forgather_convert.dynamic_model.capabilities import Capabilities
from forgather_convert.dynamic_model.project import Project
from forgather_convert.errors import ConverterError, ForgatherConvertError
from forgather_convert.families.converter import HFConverter
from forgather_convert.families.extensions import Extension, plugin_manager
from forgather_convert.families.hookspecs import ConverterHooks, hookimpl
from forgather_convert.source.config_file import SourceConfig
from forgather_convert.source.rope import RopeParameters
from forgather_convert.tensors.weight_mapping import WeightMapping


class _Implementations:
    """The hooks of a converter, in a form that all versions of pluggy call in the same way.

    pluggy before 1.7 does not pass arguments that have a default in the implementation,
    and a converter's methods may have defaults or fewer arguments than the hook.
    """

    def __init__(self, methods: Mapping[str, Callable[..., Any]]) -> None:
        self._methods = methods

    def _answer(self, name: str, **arguments: Any) -> Any:
        method = self._methods.get(name)
        if method is None:
            return None
        parameters = inspect.signature(method).parameters
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters.values()):
            arguments = {key: value for key, value in arguments.items() if key in parameters}
        return method(**arguments)

    @hookimpl
    def get_weight_mapping(self, direction: str) -> Any:
        return self._answer("get_weight_mapping", direction=direction)

    @hookimpl
    def create_project_config(self, src_config: Any, max_length: Any) -> Any:
        return self._answer("create_project_config", src_config=src_config, max_length=max_length)

    @hookimpl
    def create_hf_config(self, src_config: Any, max_length: Any) -> Any:
        return self._answer("create_hf_config", src_config=src_config, max_length=max_length)

    @hookimpl
    def get_hf_model_class(self) -> Any:
        return self._answer("get_hf_model_class")

    @hookimpl
    def get_hf_config_class(self) -> Any:
        return self._answer("get_hf_config_class")

    @hookimpl
    def get_hyperparameters(self) -> Any:
        return self._answer("get_hyperparameters")

    @hookimpl
    def get_field_names(self) -> Any:
        return self._answer("get_field_names")

    @hookimpl
    def get_tokenizer_class(self) -> Any:
        return self._answer("get_tokenizer_class")

    @hookimpl
    def get_rope_fields(self, rope: Any) -> Any:
        return self._answer("get_rope_fields", rope=rope)

    @hookimpl
    def get_tiny_configs(self) -> Any:
        return self._answer("get_tiny_configs")

    @hookimpl
    def validate_source_config(self, src_config: Any, direction: str) -> Any:
        return self._answer("validate_source_config", src_config=src_config, direction=direction)


HOOK_NAMES = tuple(name for name in vars(ConverterHooks) if not name.startswith("_"))


class FamilyHooks:
    """Typed calls of one converter's hooks, with errors that name the converter.

    Args:
        converter: The converter.
        origin: Its origin, for messages.
        extensions: The extensions that may wrap its hooks.
    """

    def __init__(
        self, converter: HFConverter, origin: str, extensions: Iterable[Extension] = ()
    ) -> None:
        self.converter = converter
        self.origin = origin
        self.name = f"{type(converter).__name__} ({origin})"
        inherited = {name: getattr(HFConverter, name).__get__(converter) for name in HOOK_NAMES}
        own = {
            name: getattr(converter, name)
            for name in HOOK_NAMES
            if getattr(type(converter), name) is not getattr(HFConverter, name)
        }
        # The last one registered is called first and wraps the others.
        self._manager = plugin_manager(
            {"base": _Implementations(inherited), "family": _Implementations(own)}, extensions
        )

    def with_extensions(self, extensions: Iterable[Extension]) -> "FamilyHooks":
        """The same converter's hooks, wrapped by extensions."""
        return FamilyHooks(self.converter, self.origin, extensions)

    @property
    def model_type(self) -> str:
        return self.converter.model_type

    @property
    def has_rope(self) -> bool:
        """Whether the family has rotary embeddings."""
        return self.converter.has_rope

    def weight_mapping(self, direction: str = "to_forgather") -> WeightMapping:
        """The mapping of Hugging Face names to Forgather names, or its inverse."""
        mapping = self._call("get_weight_mapping", direction=direction)
        return WeightMapping.from_dict(mapping, self.name)

    def hyperparameters(self) -> tuple[str, ...]:
        """The config fields that the family's model needs, by their Hugging Face names."""
        return tuple(self._call("get_hyperparameters"))

    def field_names(self) -> Mapping[str, str]:
        """The Forgather names of config fields that have another name there."""
        return dict(self._call("get_field_names"))

    def tokenizer_class(self) -> str | None:
        """The class of tokenizers whose files do not name one."""
        answer: str | None = self._call("get_tokenizer_class")
        return answer

    def rope_fields(self, rope: RopeParameters) -> dict[str, Any]:
        """The fields of a Hugging Face config that describe a rotary embedding."""
        return dict(self._call("get_rope_fields", rope=rope))

    def tiny_configs(self) -> Mapping[str, Mapping[str, Any]]:
        """Config fields of tiny models of the family, each with a name."""
        return dict(self._call("get_tiny_configs"))

    def project(self, src_config: SourceConfig, max_length: int | None) -> Project:
        """The dynamic model for a Hugging Face config."""
        answer = self._call("create_project_config", src_config=src_config, max_length=max_length)
        project = answer if isinstance(answer, Project) else self._project_from(answer)
        if self.model_type in self.converter.aliases:
            project = replace(project, model_type=self.model_type)
        if project.capabilities is None:
            capabilities = Capabilities.of(self.hf_model_class(), self.weight_mapping())
            return replace(project, capabilities=capabilities)
        return project

    def _project_from(self, answer: Any) -> Project:
        try:
            return Project(**answer)
        except TypeError as error:
            raise ConverterError(
                f"{self.name} returns an invalid project config: {error}. It must be a Project, or "
                "a dictionary with the arguments of one."
            ) from error

    def hf_config(self, src_config: SourceConfig, max_length: int | None) -> Any:
        """The Hugging Face config object."""
        return self._call("create_hf_config", src_config=src_config, max_length=max_length)

    def hf_model_class(self) -> Any:
        """The Hugging Face model class."""
        return self._call("get_hf_model_class")

    def hf_config_class(self) -> Any:
        """The Hugging Face config class."""
        return self._call("get_hf_config_class")

    def validate_source_config(self, src_config: SourceConfig, direction: str) -> None:
        """Raises for what the family cannot express."""
        self._call("validate_source_config", src_config=src_config, direction=direction)

    @property
    def display_name(self) -> str:
        """The family's name in messages, such as ``"Llama"``."""
        name = str(self.hf_model_class().__name__)
        return name.removesuffix("ForCausalLM").removesuffix("LMHeadModel")

    def _call(self, name: str, **arguments: Any) -> Any:
        try:
            return getattr(self._manager.hook, name)(**arguments)
        except ForgatherConvertError:
            raise
        except Exception as error:
            raise ConverterError(
                f"{self.name} failed in {name}: {type(error).__name__}: {error}"
            ) from error
