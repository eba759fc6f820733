"""The hooks that a converter can implement.

A converter is a subclass of :class:`forgather_convert.HFConverter`, which implements every hook
for the standard decoder, and overrides the hooks that differ for its family. No decorator is
needed. An implementation may omit arguments that it does not use, and may give its arguments
defaults; if it returns ``None``, the base class answers.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import click

    from forgather_convert.dynamic_model.project import Project
    from forgather_convert.quantization.description import Dequantizer, Quantization
    from forgather_convert.source.config_file import SourceConfig
    from forgather_convert.source.rope import RopeParameters
    from forgather_convert.tensors.notation import WeightMappingDict
    from forgather_convert.weights.checkpoint import Checkpoint

PROJECT_NAME = "forgather_convert"
hookspec = pluggy.HookspecMarker(PROJECT_NAME)
#: Marks the functions of an extension that implement hooks.
hookimpl = pluggy.HookimplMarker(PROJECT_NAME)


class ConverterHooks:
    """The specifications of a converter's hooks; the first answer that is not ``None`` is used."""

    @hookspec(firstresult=True)
    def get_weight_mapping(self, direction: str) -> "WeightMappingDict":
        """The mapping of weight names, a bijection.

        ``{layer}``, or another word in braces, stands for a number. The mapping may have names
        that a particular model does not have (a bias, an untied head); a tensor or parameter
        without one stops the conversion. An operation can stand in place of a name.

        Args:
            direction: ``"to_forgather"`` for Hugging Face names to Forgather names;
                ``"from_forgather"``, for the inverse, is not requested, as core inverts the first.

        Example::

            def get_weight_mapping(self, direction):
                return {**STANDARD_WEIGHT_MAPPING, "model.extra.weight": "extra.weight"}
        """
        raise NotImplementedError

    @hookspec(firstresult=True)
    def create_project_config(
        self, src_config: "SourceConfig", max_length: int | None
    ) -> "Project | Mapping[str, Any]":
        """The dynamic model for a Hugging Face config.

        Args:
            src_config: The source's config with its class's defaults; a mapping that also has
                attributes.
            max_length: ``--max-length``, or ``None``.

        Returns:
            A :class:`forgather_convert.Project`, or a dictionary with its arguments:
            ``model_type``, ``config`` (every hyper-parameter, by its name in ``config.json``),
            ``components``, ``component_paths`` and ``has_rope``. By default from the attributes.

        Example::

            def create_project_config(self, src_config, max_length=None):
                project = super().create_project_config(src_config, max_length)
                project["components"] = {"attention": "my_attention:MyAttention"}
                return project
        """
        raise NotImplementedError

    @hookspec(firstresult=True)
    def create_hf_config(self, src_config: "SourceConfig", max_length: int | None) -> Any:
        """The Hugging Face config object.

        Args:
            src_config: A Forgather config, or the Hugging Face one that it came from.
            max_length: ``--max-length``, or ``None``.

        Returns:
            An instance of the class that ``get_hf_config_class`` returns.

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

        By default the one that ``hf_model`` names. Import transformers inside the method.

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

    @hookspec(firstresult=True)
    def get_hyperparameters(self) -> tuple[str, ...]:
        """The config fields that the family's model needs, by their Hugging Face names.

        By default the class attribute ``hyperparameters``. RoPE's are handled separately.

        Example::

            def get_hyperparameters(self):
                return STANDARD + ("attention_bias",)
        """
        raise NotImplementedError

    @hookspec(firstresult=True)
    def get_field_names(self) -> Mapping[str, str]:
        """The Forgather names of config fields that have another name there.

        By default the class attribute ``field_names``.

        Example::

            def get_field_names(self):
                return {"layer_norm_eps": "rms_norm_eps"}
        """
        raise NotImplementedError

    @hookspec(firstresult=True)
    def get_tokenizer_class(self) -> str | None:
        """The class of tokenizers whose files do not name one.

        transformers derives it from the ``model_type``, which is another one for a dynamic model.
        By default the class attribute ``tokenizer_class``.

        Example::

            def get_tokenizer_class(self):
                return "LlamaTokenizer"
        """
        raise NotImplementedError

    @hookspec(firstresult=True)
    def uses_rope(self) -> bool:
        """Whether the family has rotary embeddings, and its configs fields that describe them.

        By default the class attribute ``has_rope``.

        Example::

            def uses_rope(self):
                return False
        """
        raise NotImplementedError

    @hookspec(firstresult=True)
    def get_rope_fields(self, rope: "RopeParameters") -> Mapping[str, Any]:
        """The fields of a Hugging Face config that describe a rotary embedding.

        For families whose config class requires a form of its own.

        Args:
            rope: Its type, base, the type's keys, and the embeddings of each kind of layer.

        Returns:
            Fields that transformers 4 and 5 both read. ``None`` as a value leaves the field to
            the class.

        Example::

            def get_rope_fields(self, rope):
                return {"rope_theta": rope.theta, "rope_scaling": None, "rope_parameters": None}
        """
        raise NotImplementedError

    @hookspec(firstresult=True)
    def get_tiny_configs(self) -> Mapping[str, Mapping[str, Any]]:
        """Config fields of tiny models of the family, each with a name.

        ``forgather converters check`` and the conformance kit convert these models; together they
        should cover every branch of the config. By default the class attribute
        ``tiny_configs``.

        Example::

            def get_tiny_configs(self):
                return {"plain": TINY_DECODER, "biases": {**TINY_DECODER, "mlp_bias": True}}
        """
        raise NotImplementedError

    @hookspec
    def validate_source_config(self, src_config: "SourceConfig", direction: str) -> None:
        """Refuses what the family cannot express, before anything is written.

        All implementations are called, including the base class's.

        Args:
            src_config: The source's config, as in the file.
            direction: ``"to_forgather"`` or ``"from_forgather"``.

        Raises:
            UnsupportedModelError: A field prevents the conversion; the message names it.

        Example::

            def validate_source_config(self, src_config, direction):
                if src_config.get("num_experts", 1) > 1:
                    raise UnsupportedModelError("'num_experts' must be 1.")
        """


class ExtensionHooks:
    """The specifications of hooks that extend the tool; extensions can also wrap converters' hooks.

    Parts of core implement these hooks, too; extensions are called before them.
    """

    @hookspec(firstresult=True)
    def open_weights(self, directory: Path) -> "Checkpoint | None":
        """Opens the weights of a directory, in a format that this implementation knows.

        Args:
            directory: The model's directory, or a checkpoint's.

        Returns:
            The location of every tensor's bytes; ``None`` if there are no weights in the format.

        Raises:
            SourceError: There are, but they are damaged.

        Example::

            @hookimpl
            def open_weights(directory):
                path = directory / "model.toy"
                return read_toy_file(path) if path.is_file() else None
        """
        raise NotImplementedError

    @hookspec(firstresult=True)
    def dequantize(self, quantization: "Quantization") -> "Dequantizer | None":
        """Gives what dequantizes weights of a format that this implementation knows.

        Only called for models whose files describe quantized weights. Tensors are given as
        expressions of the stored ones, which are computed in pieces.

        Args:
            quantization: The description in the model's files.

        Returns:
            What gives the dequantized tensors; ``None`` if the method is unknown.

        Raises:
            UnsupportedModelError: The method is known, but not this variant of it;
                ``quantization.refusal(reason)`` makes the error.

        Example::

            @hookimpl
            def dequantize(quantization):
                if quantization.method == "toy":
                    return Dequantizer("toy", toy_tensors)
        """
        raise NotImplementedError

    @hookspec
    def forgather_commands(self, group: "click.Group") -> None:
        """Adds commands to ``forgather``.

        Args:
            group: The command to add them to.

        Example::

            @hookimpl
            def forgather_commands(group):
                group.add_command(my_command)
        """

    @hookspec
    def conversion_finished(self, result: Any) -> None:
        """Called after every conversion, when the result is complete.

        Args:
            result: The result, a :class:`forgather_convert.ConversionResult`.

        Example::

            @hookimpl
            def conversion_finished(result):
                notify(result.plan.destination)
        """
