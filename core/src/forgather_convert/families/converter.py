"""The base class of converters, which implements the standard decoder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from forgather_convert.dynamic_model.project import Project
from forgather_convert.errors import ConverterError, UnsupportedModelError
from forgather_convert.families.config_checks import check_dimensions
from forgather_convert.source.config_file import SourceConfig
from forgather_convert.source.rope import LOCAL_BASE, ROPE_FIELDS, RopeParameters, read_rope
from forgather_convert.tensors.notation import WeightMappingDict
from forgather_convert.tensors.weight_mapping import STANDARD_WEIGHT_MAPPING, WeightMapping

#: Hyper-parameters of every standard decoder, by their names in both configs.
STANDARD_HYPERPARAMETERS: tuple[str, ...] = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "hidden_act",
    "max_position_embeddings",
    "initializer_range",
    "rms_norm_eps",
    "use_cache",
    "attention_dropout",
    "tie_word_embeddings",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
)

#: Fields that only some families have, with the value that means absence. A family that has one
#: lists it in ``hyperparameters``; for other families, any other value is refused.
OPTIONAL_HYPERPARAMETERS: Mapping[str, Any] = {
    "attention_bias": False,
    "mlp_bias": False,
    "sliding_window": None,
    "layer_types": None,
}

_LONGEST = "max_position_embeddings"

#: Fields of a Forgather config that have no meaning in a Hugging Face one.
FORGATHER_FIELDS: tuple[str, ...] = (
    "architectures",
    "auto_map",
    "model_type",
    "hf_model_type",
    "transformers_version",
    "torch_dtype",
    "dtype",
)


class HFConverter:
    """Converts a family of standard decoders; families override what differs.

    Each public method answers the hook of the same name, which
    :class:`forgather_convert.families.hookspecs.ConverterHooks` documents.

    Core reads the attributes through these hooks only, so that an extension can wrap them.

    Attributes:
        model_type: The family's name, the Hugging Face ``model_type``.
        aliases: Other model types of the same architecture that it also converts. Each is
            registered like the family's own type, and is kept in both directions.
        weight_mapping: The mapping of weight names, Hugging Face to Forgather.
        field_names: The Forgather names of config fields that have another name there, such as
            ``{"layer_norm_eps": "rms_norm_eps"}``.
        tiny_configs: Config fields of tiny models for tests of the family, each with a name.
        hyperparameters: The config fields that the family's model needs, by their
            Hugging Face names. RoPE's are handled separately.
        fixed_hyperparameters: Fields that only the Forgather config has, with the values
            that the family's architecture implies, such as ``{"attention_bias": True}``.
        components: The dynamic model's non-standard components, by role, or by role and kind of
            layer.
        component_paths: Directories with source files of components that core does not have.
        tokenizer_class: The class of tokenizers whose files do not name one. transformers derives
            it from the ``model_type``, which is another one for a dynamic model.
        has_rope: Whether the family has rotary embeddings.
    """

    model_type: ClassVar[str] = ""
    aliases: ClassVar[tuple[str, ...]] = ()
    weight_mapping: ClassVar[WeightMappingDict] = STANDARD_WEIGHT_MAPPING
    field_names: ClassVar[Mapping[str, str]] = {}
    tiny_configs: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    hyperparameters: ClassVar[tuple[str, ...]] = STANDARD_HYPERPARAMETERS
    fixed_hyperparameters: ClassVar[Mapping[str, Any]] = {}
    components: ClassVar[Mapping[str, str | Mapping[str, str]]] = {}
    component_paths: ClassVar[Sequence[str | Path]] = ()
    tokenizer_class: ClassVar[str | None] = None
    has_rope: ClassVar[bool] = True

    def get_hf_model_class(self) -> Any:
        raise ConverterError(
            f"{type(self).__name__} must implement get_hf_model_class and return the class "
            "of its family in transformers."
        )

    def get_hf_config_class(self) -> Any:
        return self.get_hf_model_class().config_class

    def get_weight_mapping(self, direction: str) -> WeightMappingDict:
        if direction == "to_forgather":
            return self.weight_mapping
        return (
            WeightMapping.from_dict(self.weight_mapping, type(self).__name__).inverted().to_dict()
        )

    def get_hyperparameters(self) -> tuple[str, ...]:
        return self.hyperparameters

    def get_field_names(self) -> Mapping[str, str]:
        return self.field_names

    def get_tokenizer_class(self) -> str | None:
        return self.tokenizer_class

    def get_rope_fields(self, rope: RopeParameters) -> Mapping[str, Any]:
        return rope.to_fields()

    def get_tiny_configs(self) -> Mapping[str, Mapping[str, Any]]:
        return self.tiny_configs

    def create_project_config(
        self, src_config: SourceConfig, max_length: int | None = None
    ) -> Project | Mapping[str, Any]:
        config = {
            self.field_names.get(name, name): src_config[name]
            for name in self.hyperparameters
            if name in src_config
        }
        for name in ("attention_bias", "mlp_bias", "sliding_window"):
            config.setdefault(name, OPTIONAL_HYPERPARAMETERS[name])
        config["head_dim"] = self._head_dim(src_config)
        config.update(self.own_hyperparameters(src_config))
        if self.has_rope:
            config.update(read_rope(src_config, src_config.origin).to_fields())
        if max_length is not None:
            config[_LONGEST] = max_length
        return {
            "model_type": self.model_type,
            "config": config,
            "components": self.components,
            "component_paths": self.component_paths,
            "has_rope": self.has_rope,
        }

    def own_hyperparameters(self, config: SourceConfig) -> Mapping[str, Any]:
        """The fields that only the Forgather config has, for a config of either kind.

        A family overrides this if they depend on other fields, like the kind of each layer.
        """
        return self.fixed_hyperparameters

    def create_hf_config(self, src_config: SourceConfig, max_length: int | None = None) -> Any:
        not_hf = (*ROPE_FIELDS, *FORGATHER_FIELDS, *self.own_hyperparameters(src_config))
        fields = {name: value for name, value in src_config.items() if name not in not_hf}
        names = {own_name: name for name, own_name in self.field_names.items()}
        # All at once: one field may have the other name of another.
        renamed = {names[name]: value for name, value in fields.items() if name in names}
        fields = {**renamed, **{name: fields[name] for name in fields if name not in names}}
        if max_length is not None:
            fields[names.get(_LONGEST, _LONGEST)] = max_length
        for name, absent in OPTIONAL_HYPERPARAMETERS.items():
            if name not in self.hyperparameters and fields.get(name) == absent:
                fields.pop(name, None)
        if "head_dim" not in self.hyperparameters:
            fields.pop("head_dim", None)
        if self.has_rope:
            fields.update(self.get_rope_fields(read_rope(src_config, src_config.origin)))
        config = self.get_hf_config_class()(**fields)
        if "head_dim" in self.hyperparameters and getattr(config, "head_dim", None) is None:
            # transformers 4 computes with it for some RoPE types even where it is null, and
            # a class that does not know it still reads it.
            config.head_dim = self._head_dim(src_config)
        return config

    def validate_source_config(self, src_config: SourceConfig, direction: str) -> None:
        check_dimensions(src_config, self.field_names)
        own = self.own_hyperparameters(src_config)
        for name, fixed in own.items():
            if direction == "from_forgather" and src_config.get(name, fixed) != fixed:
                raise UnsupportedModelError(
                    f"In {src_config.origin}, '{name}' is {src_config[name]!r}; with the rest of "
                    f"this config, in the family '{self.model_type}', it is always {fixed!r}."
                )
        known = set(self.hyperparameters)
        if direction == "from_forgather":
            known = {self.field_names.get(name, name) for name in known}
        for name, absent in OPTIONAL_HYPERPARAMETERS.items():
            if name in own:
                continue
            value = src_config.get(name, absent)
            if name not in known and value and value != absent:
                raise UnsupportedModelError(
                    f"The family '{self.model_type}' cannot express '{name}' "
                    f"({value!r} in {src_config.origin}). Use a converter of a family that can "
                    "(--converter-path)."
                )
        if self.has_rope:
            self._validate_rope(src_config, is_complete=direction == "from_forgather")

    def _validate_rope(self, src_config: SourceConfig, is_complete: bool) -> None:
        rope = read_rope(src_config, src_config.origin, is_complete)
        if rope.by_kind and LOCAL_BASE not in self.hyperparameters:
            raise UnsupportedModelError(
                f"{src_config.origin} has different RoPE parameters for different kinds of layers. "
                "Use a converter of a family that has them (--converter-path)."
            )
        for embedding in (rope, *rope.by_kind.values()):
            partial = embedding.options.get("partial_rotary_factor", 1.0)
            if partial != 1.0 and "partial_rotary_factor" not in self.hyperparameters:
                raise UnsupportedModelError(
                    f"The family '{self.model_type}' cannot express 'partial_rotary_factor' "
                    f"({partial!r} in {src_config.origin}). Use a converter of a family that can "
                    "(--converter-path)."
                )

    def _head_dim(self, config: SourceConfig) -> int:
        head_dim = config.get("head_dim")
        if head_dim is None:
            head_dim = config.hidden_size // config.num_attention_heads
        return int(head_dim)
