"""The base class of converters, which implements the standard decoder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from forgather_convert.dynamic_model.project import Project
from forgather_convert.errors import ConverterError, OptionError, UnsupportedModelError
from forgather_convert.families.beside import components_beside, tiny_configs_beside
from forgather_convert.families.config_checks import check_dimensions
from forgather_convert.families.hookspecs import ConverterHooks
from forgather_convert.families.hyperparameters import OPTIONAL_HYPERPARAMETERS, STANDARD
from forgather_convert.families.transformers_classes import (
    is_transformers_at_least,
    model_class,
)
from forgather_convert.source.composite import TEXT_MODEL_TYPE
from forgather_convert.source.config_file import BOOKKEEPING, SourceConfig
from forgather_convert.source.config_objects import field_of
from forgather_convert.source.rope import LOCAL_BASE, ROPE_FIELDS, RopeParameters, read_rope
from forgather_convert.tensors.family_mapping import family_mapping
from forgather_convert.tensors.notation import WeightMappingDict
from forgather_convert.tensors.weight_mapping import (
    HF_LAYERS,
    STANDARD_WEIGHT_MAPPING,
    WeightMapping,
)

_LONGEST = "max_position_embeddings"
_PARTIAL = "partial_rotary_factor"
#: A family lists it among its hyper-parameters if its class in transformers reads RoPE only there,
#: by kind of layer, and misreads the fields of transformers 4.
_ROPE = "rope_parameters"

#: Fields of a Forgather config that mean nothing in a Hugging Face one.
FORGATHER_FIELDS = BOOKKEEPING | {"hf_model_type", TEXT_MODEL_TYPE}


class HFConverter(ConverterHooks):
    """Converts a family of standard decoders; families override what differs.

    Each public method answers the hook of the same name, which
    :class:`forgather_convert.families.hookspecs.ConverterHooks` documents.

    Core reads the attributes through these hooks only, so that an extension can wrap them.

    Attributes:
        model_type: The family's name, the Hugging Face ``model_type``.
        aliases: Other model types of the same architecture, kept in both directions. Each has its
            own entry point.
        text_model_type: For a composite, such as a model of images and text, the type of the text
            model that it can be converted back to alone. The other attributes describe that text
            model; everything else is copied unchanged.
        other_text_models: Converters of the text models that such a composite may have instead.
        hf_model: The name of the causal language model class in transformers, which is imported
            when it is used.
        layer_weights: Modules of a layer that the standard decoder lacks or names differently,
            Hugging Face to Forgather, by their names within the layer, such as
            ``{"mlp.gate": "feedforward.router"}``; covers both the weight and the bias of each.
        layer_tensors: Single tensors of a layer, likewise: those that are not a module's weight or
            bias, and those that an operation changes.
        model_weights: Modules outside the layers, by their full names; like ``layer_weights``.
        hf_layers: The Hugging Face name of the list of layers, by default ``model.layers``.
        weight_mapping: All weights by their full names, by default
            ``STANDARD_WEIGHT_MAPPING``; the other four modify it.
        field_names: The Forgather names of config fields that have another name there, such as
            ``{"layer_norm_eps": "rms_norm_eps"}``.
        tiny_configs: Config fields of tiny models for tests of the family, each with a name. By
            default those for the model type in a module ``tiny_configs`` beside the converter's.
        hyperparameters: The config fields that the family's model needs, by their
            Hugging Face names: ``STANDARD``, plus ``WINDOWS``, ``attention_bias`` and others that
            the family has; a source that sets one is refused otherwise. RoPE's are handled
            separately; ``rope_parameters`` says that the class reads RoPE there only, by kind.
        fixed_hyperparameters: Fields that only the Forgather config has, with the values
            that the family's architecture implies, such as ``{"attention_bias": True}``.
        components: The dynamic model's non-standard components, by role, or by role and kind of
            layer.
        component_paths: Directories with source files of components that core does not have,
            searched before the directory ``components`` beside the converter's file.
        tokenizer_class: The class of tokenizers whose files do not name one. transformers derives
            it from the ``model_type``, which is another one for a dynamic model.
        has_rope: Whether the family has rotary embeddings. Without them, use the component
            ``no_positional_encoding:NoPositionalEncoding``.
        has_unscaled_windows: Whether RoPE scaling does not apply to sliding layers, which
            transformers 5 describes apart and version 4 cannot.
        has_learned_positions: Whether each position has a vector of its own, so that
            ``--max-length`` cannot change how many there are.
        needs_transformers: The oldest version of transformers that the family's models can be
            converted with, such as ``"5.13"``, if older ones also have them.
        supports_version_4: Whether the family's models can also be converted with version 4, and
            ``needs_transformers`` is about version 5 only.
        unsupported: Config fields that must not be set in a source, each with the reason, a
            sentence.
    """

    model_type: ClassVar[str] = ""
    aliases: ClassVar[tuple[str, ...]] = ()
    text_model_type: ClassVar[str] = ""
    other_text_models: ClassVar[tuple[type["HFConverter"], ...]] = ()
    hf_model: ClassVar[str] = ""
    layer_weights: ClassVar[Mapping[str, str]] = {}
    layer_tensors: ClassVar[WeightMappingDict] = {}
    model_weights: ClassVar[Mapping[str, str]] = {}
    hf_layers: ClassVar[str] = HF_LAYERS
    weight_mapping: ClassVar[WeightMappingDict] = STANDARD_WEIGHT_MAPPING
    field_names: ClassVar[Mapping[str, str]] = {}
    tiny_configs: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    hyperparameters: ClassVar[tuple[str, ...]] = STANDARD
    fixed_hyperparameters: ClassVar[Mapping[str, Any]] = {}
    components: ClassVar[Mapping[str, str | Mapping[str, str]]] = {}
    component_paths: ClassVar[Sequence[str | Path]] = ()
    tokenizer_class: ClassVar[str | None] = None
    has_rope: ClassVar[bool] = True
    has_unscaled_windows: ClassVar[bool] = False
    has_learned_positions: ClassVar[bool] = False
    needs_transformers: ClassVar[str] = ""
    supports_version_4: ClassVar[bool] = False
    unsupported: ClassVar[Mapping[str, str]] = {}

    def get_hf_model_class(self) -> Any:
        if not self.hf_model:
            raise ConverterError(
                f"{type(self).__name__} must set hf_model, the name of the class of its family in "
                "transformers, or implement get_hf_model_class."
            )
        self._check_transformers()
        return model_class(self.hf_model)

    def get_hf_config_class(self) -> Any:
        return self.get_hf_model_class().config_class

    def get_weight_mapping(self, direction: str) -> WeightMappingDict:
        mapping = family_mapping(
            self.weight_mapping,
            self.hf_layers,
            self.model_weights,
            self.layer_weights,
            self.layer_tensors,
        )
        if direction == "to_forgather":
            return mapping
        return WeightMapping.from_dict(mapping, type(self).__name__).inverted().to_dict()

    def get_hyperparameters(self) -> tuple[str, ...]:
        return self.hyperparameters

    def get_field_names(self) -> Mapping[str, str]:
        return self.field_names

    def get_tokenizer_class(self) -> str | None:
        return self.tokenizer_class

    def uses_rope(self) -> bool:
        return self.has_rope

    def get_rope_fields(self, rope: RopeParameters) -> Mapping[str, Any]:
        fields = rope.to_fields()
        if _ROPE in self._hyperparameters():
            return {_ROPE: fields[_ROPE]}
        if _PARTIAL in self._hyperparameters():
            # transformers 4 reads it beside the dictionaries only.
            fields[_PARTIAL] = rope.options.get(_PARTIAL, 1.0)
        if LOCAL_BASE not in self._hyperparameters():
            fields.pop(LOCAL_BASE, None)
        return fields

    def get_tiny_configs(self) -> Mapping[str, Mapping[str, Any]]:
        return self.tiny_configs or tiny_configs_beside(type(self))

    def create_project_config(
        self, src_config: SourceConfig, max_length: int | None = None
    ) -> Project | Mapping[str, Any]:
        self._check_max_length(src_config, max_length)
        names = self._field_names()
        config = {
            names.get(name, name): src_config[name]
            for name in self._hyperparameters()
            if name in src_config
        }
        for name in ("attention_bias", "mlp_bias", "sliding_window"):
            config.setdefault(name, OPTIONAL_HYPERPARAMETERS[name])
        config["head_dim"] = self._head_dim(src_config)
        config.update(self.own_hyperparameters(src_config))
        if self.uses_rope():
            config.update(read_rope(src_config, src_config.origin).to_fields())
            if _ROPE in self._hyperparameters():
                config.pop(LOCAL_BASE, None)
        if max_length is not None:
            config[_LONGEST] = max_length
        return {
            "model_type": self.model_type,
            "config": config,
            "components": self.components,
            "component_paths": [*self.component_paths, *components_beside(type(self))],
            "has_rope": self.uses_rope(),
        }

    def own_hyperparameters(self, config: SourceConfig) -> Mapping[str, Any]:
        """The fields that only the Forgather config has, for a config of either kind.

        A family overrides this if they depend on other fields, like the kind of each layer.
        """
        return self.fixed_hyperparameters

    def create_hf_config(self, src_config: SourceConfig, max_length: int | None = None) -> Any:
        self._check_max_length(src_config, max_length)
        not_hf = (
            *ROPE_FIELDS,
            LOCAL_BASE,
            *FORGATHER_FIELDS,
            *self.own_hyperparameters(src_config),
        )
        fields = {name: value for name, value in src_config.items() if name not in not_hf}
        names = {own_name: name for name, own_name in self._field_names().items()}
        # All at once: one field may have the other name of another.
        renamed = {names[name]: value for name, value in fields.items() if name in names}
        fields = {**renamed, **{name: fields[name] for name in fields if name not in names}}
        if max_length is not None:
            fields[names.get(_LONGEST, _LONGEST)] = max_length
        for name, absent in OPTIONAL_HYPERPARAMETERS.items():
            if name not in self._hyperparameters() and fields.get(name) == absent:
                fields.pop(name, None)
        if "head_dim" not in self._hyperparameters():
            fields.pop("head_dim", None)
        if self.uses_rope():
            fields.update(self.get_rope_fields(read_rope(src_config, src_config.origin)))
        config = self.get_hf_config_class()(**fields)
        if "head_dim" in self._hyperparameters() and field_of(config, "head_dim") is None:
            # transformers 4 computes with it for some RoPE types even where it is null, and
            # a class that does not know it still reads it.
            config.head_dim = self._head_dim(src_config)
        return config

    def validate_source_config(self, src_config: SourceConfig, direction: str) -> None:
        self._check_transformers()
        check_dimensions(src_config, self._field_names())
        for name, reason in self.unsupported.items():
            if src_config.get(name):
                raise UnsupportedModelError(
                    f"In {src_config.origin}, '{name}' is {src_config[name]!r}, which the family "
                    f"'{self.model_type}' cannot express. {reason}"
                )
        own = self.own_hyperparameters(src_config)
        for name, fixed in own.items():
            if direction == "from_forgather" and src_config.get(name, fixed) != fixed:
                raise UnsupportedModelError(
                    f"In {src_config.origin}, '{name}' is {src_config[name]!r}, but in the "
                    f"family '{self.model_type}', the rest of this config implies {fixed!r}."
                )
        known = set(self._hyperparameters())
        if direction == "from_forgather":
            names = self._field_names()
            known = {names.get(name, name) for name in known}
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
        if self.uses_rope():
            self._validate_rope(src_config, is_complete=direction == "from_forgather")

    def _hyperparameters(self) -> tuple[str, ...]:
        # A family's method may leave the answer to this class.
        answer: tuple[str, ...] | None = self.get_hyperparameters()
        return self.hyperparameters if answer is None else answer

    def _field_names(self) -> Mapping[str, str]:
        answer: Mapping[str, str] | None = self.get_field_names()
        return self.field_names if answer is None else answer

    def _check_transformers(self) -> None:
        needed = self.needs_transformers
        if not needed or is_transformers_at_least(needed):
            return
        if self.supports_version_4 and not is_transformers_at_least("5"):
            return
        raise UnsupportedModelError(
            f"The family '{self.model_type}' needs transformers {needed} or later, because "
            f"older versions{' of 5' if self.supports_version_4 else ''} compute its models "
            "differently. Install it."
        )

    def _check_max_length(self, config: SourceConfig, max_length: int | None) -> None:
        longest = config.get(_LONGEST)
        if self.has_learned_positions and max_length not in (None, longest):
            raise OptionError(
                f"--max-length is {max_length}, but {config.origin} has {longest} positions, each "
                "with a learned vector. Leave the option out."
            )

    def _validate_rope(self, src_config: SourceConfig, is_complete: bool) -> None:
        rope = read_rope(src_config, src_config.origin, is_complete)
        if _ROPE in self._hyperparameters():
            return
        has_kinds = self.has_unscaled_windows or LOCAL_BASE in self._hyperparameters()
        if rope.by_kind and not has_kinds:
            raise UnsupportedModelError(
                f"{src_config.origin} has different RoPE parameters for different kinds of layers. "
                "Use a converter of a family that has them (--converter-path)."
            )
        for embedding in (rope, *rope.by_kind.values()):
            partial = embedding.options.get(_PARTIAL, 1.0)
            if partial != 1.0 and _PARTIAL not in self._hyperparameters():
                raise UnsupportedModelError(
                    f"The family '{self.model_type}' cannot express '{_PARTIAL}' "
                    f"({partial!r} in {src_config.origin}). Use a converter of a family that can "
                    "(--converter-path)."
                )

    def _head_dim(self, config: SourceConfig) -> int:
        head_dim = config.get("head_dim")
        if head_dim is None:
            head_dim = config.hidden_size // config.num_attention_heads
        return int(head_dim)
