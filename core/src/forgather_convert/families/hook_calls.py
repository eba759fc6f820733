"""Calls of one converter's hooks.

Every conversion has its own plugin manager, on which the base converter and one family are
registered, so that no other family can answer.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from forgather_convert.dynamic_model.capabilities import Capabilities
from forgather_convert.dynamic_model.project import Project
from forgather_convert.errors import ConverterError, ForgatherConvertError, cause_of
from forgather_convert.families.aliases import as_text_model, of_composite
from forgather_convert.families.converter import HFConverter
from forgather_convert.families.derived_calls import HOOK_NAMES, Implementations, calls_hooks
from forgather_convert.families.extensions import Extension, plugin_manager
from forgather_convert.families.hookspecs import ConverterHooks
from forgather_convert.source.config_file import SourceConfig
from forgather_convert.tensors.weight_mapping import WeightMapping


@calls_hooks
class FamilyHooks(ConverterHooks):
    """The hooks of one converter, with errors that name the converter.

    Each hook is a method; those that are written out make more of an answer.

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
        self._extensions = tuple(extensions)
        self.name = f"{type(converter).__name__} ({origin})"
        inherited = {name: getattr(HFConverter, name).__get__(converter) for name in HOOK_NAMES}
        own = {
            name: getattr(converter, name)
            for name in HOOK_NAMES
            if getattr(type(converter), name) is not getattr(HFConverter, name)
        }
        # The last one registered is called first and wraps the others.
        self._manager = plugin_manager(
            {"base": Implementations(inherited), "family": Implementations(own)}, self._extensions
        )

    def with_extensions(self, extensions: Iterable[Extension]) -> "FamilyHooks":
        """The same converter's hooks, wrapped by extensions."""
        return FamilyHooks(self.converter, self.origin, extensions)

    def for_text_model(self, text_model_type: str | None) -> "FamilyHooks":
        """A composite's hooks for models whose text model has a given type."""
        own = of_composite(type(self.converter), text_model_type)
        if own is type(self.converter):
            return self
        return FamilyHooks(own(), self.origin, self._extensions)

    def of_text_model(self) -> "FamilyHooks":
        """The hooks for a composite's text model alone."""
        return FamilyHooks(as_text_model(self.converter), self.origin, self._extensions)

    @property
    def model_type(self) -> str:
        return self.converter.model_type

    @property
    def is_alias(self) -> bool:
        """Whether the model type is another name of its architecture."""
        return self.model_type in self.converter.aliases

    @property
    def is_composite(self) -> bool:
        """Whether the models are composites, of which the text model is converted."""
        return bool(self.converter.text_model_type)

    def weight_mapping(self, direction: str = "to_forgather") -> WeightMapping:
        """The weight mapping in a direction, by default from Hugging Face to Forgather."""
        return WeightMapping.from_dict(self.get_weight_mapping(direction), self.name)

    def project(self, src_config: SourceConfig, max_length: int | None) -> Project:
        """The dynamic model for a Hugging Face config."""
        answer = self.create_project_config(src_config, max_length)
        project = answer if isinstance(answer, Project) else self._project_from(answer)
        if self.is_alias:
            project = replace(project, model_type=self.model_type)
        if project.capabilities is None:
            capabilities = Capabilities.of(self.get_hf_model_class(), self.weight_mapping())
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

    @property
    def display_name(self) -> str:
        """The family's name in messages, as ``"Llama"``."""
        name = str(self.get_hf_model_class().__name__)
        return name.removesuffix("ForCausalLM").removesuffix("LMHeadModel")

    def _call(self, name: str, **arguments: Any) -> Any:
        try:
            return getattr(self._manager.hook, name)(**arguments)
        except ForgatherConvertError:
            raise
        except Exception as error:
            raise ConverterError(f"{self.name} failed in {name}: {cause_of(error)}") from error
