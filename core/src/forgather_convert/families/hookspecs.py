"""The hooks that a converter can implement.

A converter class subclasses :class:`forgather_convert.HFConverter`, which answers every
hook for the standard decoder, and overrides the ones that differ in its family. No
decorator is needed. An implementation may leave out arguments it has no use for, and
may give its arguments defaults; one that returns ``None`` leaves the answer to the base
class.
"""

from collections.abc import Mapping
from typing import Any

import pluggy

from forgather_convert.source.config_file import SourceConfig
from forgather_convert.tensors import WeightMappingDict

PROJECT_NAME = "forgather_convert"
hookspec = pluggy.HookspecMarker(PROJECT_NAME)


class ConverterHooks:
    """The specifications; the first answer that is not ``None`` counts."""

    @hookspec(firstresult=True)
    def get_weight_mapping(self, direction: str) -> WeightMappingDict:
        """The names of the weights, as a bijection.

        Args:
            direction: ``"to_forgather"`` for Hugging Face names to Forgather names,
                ``"from_forgather"`` for the inverse. Conversions ask for the first and
                invert it.

        Returns:
            A dictionary of names, in which ``{layer}`` stands for a number.

        Example::

            def get_weight_mapping(self, direction):
                mapping = {**STANDARD_WEIGHT_MAPPING, "model.extra.weight": "extra.weight"}
                return self.directed(mapping, direction)
        """
        raise NotImplementedError

    @hookspec(firstresult=True)
    def create_project_config(
        self, src_config: SourceConfig, max_length: int | None
    ) -> Mapping[str, Any]:
        """The dynamic model for a Hugging Face config.

        Args:
            src_config: The source's config, completed by the defaults of its class.
            max_length: The maximum sequence length to use instead of the source's.

        Returns:
            The arguments of :class:`forgather_convert.dynamic_model.project.Project`.

        Example::

            def create_project_config(self, src_config, max_length=None):
                project = super().create_project_config(src_config, max_length)
                project["components"] = {"attention": "my_attention:MyAttention"}
                return project
        """
        raise NotImplementedError

    @hookspec(firstresult=True)
    def create_hf_config(self, src_config: SourceConfig, max_length: int | None) -> Any:
        """The Hugging Face config object for a config of either side.

        Args:
            src_config: A Forgather config, or a Hugging Face one.
            max_length: The maximum sequence length to use instead of the source's.

        Returns:
            An instance of the class that ``get_hf_config_class`` gives.

        Example::

            def create_hf_config(self, src_config, max_length=None):
                config = super().create_hf_config(src_config, max_length)
                config.my_field = src_config.my_forgather_field
                return config
        """
        raise NotImplementedError

    @hookspec(firstresult=True)
    def get_hf_model_class(self) -> Any:
        """The causal language model class in transformers.

        Example::

            def get_hf_model_class(self):
                from transformers import LlamaForCausalLM
                return LlamaForCausalLM
        """
        raise NotImplementedError

    @hookspec(firstresult=True)
    def get_hf_config_class(self) -> Any:
        """The config class in transformers; by default the model class's.

        Example::

            def get_hf_config_class(self):
                from transformers import LlamaConfig
                return LlamaConfig
        """
        raise NotImplementedError

    @hookspec
    def validate_source_config(self, src_config: SourceConfig, direction: str) -> None:
        """Refuses what the family cannot express, before anything is written.

        All implementations are called, the base class's too.

        Args:
            src_config: The source's config.
            direction: ``"to_forgather"`` or ``"from_forgather"``.

        Raises:
            UnsupportedModelError: With the name of the field that stands in the way.

        Example::

            def validate_source_config(self, src_config, direction):
                if src_config.get("num_experts", 1) > 1:
                    raise UnsupportedModelError("'num_experts' must be 1.")
        """
