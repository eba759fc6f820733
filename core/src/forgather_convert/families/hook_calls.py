"""Calls of one converter's hooks.

Every conversion has a plugin manager of its own, on which the base converter and one
family are registered: no other family can answer.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import pluggy

from forgather_convert.dynamic_model.project import Project
from forgather_convert.errors import ConverterError, ForgatherConvertError
from forgather_convert.families.converter import HFConverter
from forgather_convert.families.hookspecs import PROJECT_NAME, ConverterHooks
from forgather_convert.source.config_file import SourceConfig
from forgather_convert.tensors import WeightMapping

_hookimpl = pluggy.HookimplMarker(PROJECT_NAME)


class _Implementations:
    """The hooks of a converter, in the form that every version of pluggy calls alike.

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

    @_hookimpl
    def get_weight_mapping(self, direction: str) -> Any:
        return self._answer("get_weight_mapping", direction=direction)

    @_hookimpl
    def create_project_config(self, src_config: Any, max_length: Any) -> Any:
        return self._answer("create_project_config", src_config=src_config, max_length=max_length)

    @_hookimpl
    def create_hf_config(self, src_config: Any, max_length: Any) -> Any:
        return self._answer("create_hf_config", src_config=src_config, max_length=max_length)

    @_hookimpl
    def get_hf_model_class(self) -> Any:
        return self._answer("get_hf_model_class")

    @_hookimpl
    def get_hf_config_class(self) -> Any:
        return self._answer("get_hf_config_class")

    @_hookimpl
    def validate_source_config(self, src_config: Any, direction: str) -> Any:
        return self._answer("validate_source_config", src_config=src_config, direction=direction)


HOOK_NAMES = tuple(name for name in vars(ConverterHooks) if not name.startswith("_"))


class FamilyHooks:
    """The hooks of one converter, typed and with errors that name the converter.

    Args:
        converter: The converter.
        origin: Where it comes from, for messages.
    """

    def __init__(self, converter: HFConverter, origin: str) -> None:
        self.converter = converter
        self.origin = origin
        self.owner = f"{type(converter).__name__} ({origin})"
        self._manager = pluggy.PluginManager(PROJECT_NAME)
        self._manager.add_hookspecs(ConverterHooks)
        inherited = {name: getattr(HFConverter, name).__get__(converter) for name in HOOK_NAMES}
        own = {
            name: getattr(converter, name)
            for name in HOOK_NAMES
            if getattr(type(converter), name) is not getattr(HFConverter, name)
        }
        # The last registered is called first.
        self._manager.register(_Implementations(inherited), "base")
        self._manager.register(_Implementations(own), "family")

    @property
    def model_type(self) -> str:
        return self.converter.model_type

    def weight_mapping(self, direction: str = "to_forgather") -> WeightMapping:
        """The mapping of Hugging Face names to Forgather names, or as the direction says."""
        mapping = self._call("get_weight_mapping", direction=direction)
        return WeightMapping.from_dict(mapping, self.owner)

    def project(self, src_config: SourceConfig, max_length: int | None) -> Project:
        """The dynamic model for a Hugging Face config."""
        arguments = self._call(
            "create_project_config", src_config=src_config, max_length=max_length
        )
        try:
            return Project(**arguments)
        except TypeError as error:
            raise ConverterError(
                f"{self.owner} gives a project config that is not one: {error}."
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
        """The family's name in messages, as ``"Llama"``."""
        return str(self.hf_model_class().__name__).removesuffix("ForCausalLM")

    def _call(self, name: str, **arguments: Any) -> Any:
        try:
            return getattr(self._manager.hook, name)(**arguments)
        except ForgatherConvertError:
            raise
        except Exception as error:
            raise ConverterError(
                f"{self.owner} failed in {name}: {type(error).__name__}: {error}"
            ) from error
