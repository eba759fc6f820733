"""The reference: the model that a user gets by loading a Hugging Face directory.

transformers' own config class for the ``model_type`` reads the directory's ``config.json``, and
what the class makes of it - defaults, derived fields, RoPE - defines the model. The converter's
classes are used only if transformers has none for the model type.
"""

import copy
import functools
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from forgather_convert.errors import SourceError, UnsupportedModelError, cause_of
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.families.transformers_classes import is_known_type, registered_classes
from forgather_convert.source.composite import TEXT_CONFIG, has_text_config
from forgather_convert.source.config_file import BASE_CONFIG_FIELDS, DTYPE_FIELDS, SourceConfig
from forgather_convert.source.config_objects import field_of
from forgather_convert.source.rope import (
    LOCAL_BASE,
    LOCAL_KIND,
    ORIGINAL_LENGTH,
    ROPE_FIELDS,
    RopeParameters,
    check_transformers_4_knows,
    longrope_ambiguous_in_v4,
    read_rope,
)

logger = logging.getLogger(__name__)

#: RoPE fields for which a config class has defaults.
_ROPE_DEFAULTS = ("rope_theta", "partial_rotary_factor", "max_position_embeddings")


@dataclass(frozen=True)
class ReferenceClasses:
    """The classes that load a family's Hugging Face directories.

    Attributes:
        hooks: The converter of the family.
        config_class: The class that reads ``config.json``.
        model_class: The causal language model class.
        stands_in_for: The model type, if transformers has no class for it and the converter's is
            used instead; ``None`` if the class is transformers' own.
    """

    hooks: FamilyHooks
    config_class: Any
    model_class: Any
    stands_in_for: str | None = None

    @classmethod
    def of(cls, hooks: FamilyHooks, own_type: str | None = None) -> "ReferenceClasses":
        """The classes that transformers has registered for a model type, else the converter's.

        Args:
            hooks: The converter.
            own_type: The type stated in a directory's own config; by default, the family's. The
                user's choice of a type selects the converter, but not the reference.

        Raises:
            UnsupportedModelError: transformers knows the type, and no causal LM of it.
        """
        model_type = own_type or hooks.model_type
        registered = registered_classes(model_type, hooks.is_composite)
        if registered is not None:
            return cls(hooks, *registered)
        if model_type != hooks.model_type and is_known_type(model_type):
            raise UnsupportedModelError(
                f"transformers has no causal language model of the type '{model_type}', which the "
                f"config states. It cannot be converted as '{hooks.model_type}': there is nothing "
                "to compare the result with. Use a converter for its own type."
            )
        # A family that borrows another family's classes, or has its own package.
        return cls(hooks, hooks.get_hf_config_class(), hooks.get_hf_model_class(), model_type)

    def describe(self) -> str:
        """The code that runs: ``"LlamaForCausalLM of transformers"``."""
        package = str(self.model_class.__module__).partition(".")[0]
        text = f"{self.model_class.__name__} of {package}"
        if self.stands_in_for is not None and package == "transformers":
            text += f", which does not know the model type '{self.stands_in_for}'"
        return text

    def cannot_run(self, origin: str, error: Exception) -> SourceError:
        """The error for a config whose model can be built, but fails when it is run."""
        return SourceError(
            f"{origin} describes a model that does not run with {self.describe()}: "
            f"{cause_of(error)}. Fix the config, or "
            "install another version of transformers."
        )

    def read(self, fields: Mapping[str, Any], origin: str) -> Any:
        """The config object that transformers makes of the content of a ``config.json``.

        The same content gives the same model with transformers 4 and 5: version 4 does not know
        the RoPE schema of version 5, and gets RoPE in its own.

        Returns:
            The config object of the text model, if the model is a composite.

        Raises:
            UnreadableConfigError: The installed transformers cannot read it.
        """
        return text_model_config(self.read_whole(fields, origin))

    def read_whole(
        self, fields: Mapping[str, Any], origin: str, is_tied: bool | None = None
    ) -> Any:
        """The config object that the model's class takes: for a composite, that of the whole.

        Args:
            fields: The content.
            origin: The file, for messages.
            is_tied: Whether a composite's head and embedding are one, if the weights tell.
        """
        with _readable(origin):
            known = without_dtype(fields)
            if self.stands_in_for is not None:
                # transformers looks up by it how the tensors of a model are stored.
                known["model_type"] = self.config_class.model_type
            if has_text_config(known):
                known[TEXT_CONFIG] = without_dtype(known[TEXT_CONFIG])
            parts = known.get(TEXT_CONFIG, known)
            self._write_known_schema(parts, origin)
            whole = self.config_class.from_dict(known)
            config = text_model_config(whole)
            if config is not whole:
                self._check_text_model(config, origin)
                # The versions of transformers read different ones of the two.
                if is_tied is None:
                    is_tied = bool((whole if _is_version_5() else config).tie_word_embeddings)
                whole.tie_word_embeddings = config.tie_word_embeddings = is_tied
            if field_of(config, "head_dim", 0) is None:
                # transformers 4 computes with it for some RoPE types even if it is null.
                config.head_dim = config.hidden_size // config.num_attention_heads
            if self.hooks.uses_rope():
                _normalize_rope_for_v4(config, origin)
                if self.hooks.converter.has_unscaled_windows and not _is_version_5():
                    _state_unscaled_windows(config, origin)
        return whole

    def _check_text_model(self, config: Any, origin: str) -> None:
        converter = self.hooks.converter
        text_type = converter.text_model_type
        types = (text_type, *(other.model_type for other in converter.other_text_models))
        # transformers 4 gives it the composite's type if the config has no part of its own for it.
        expected = (text_type, f"{self.hooks.model_type}_text", self.hooks.model_type)
        if config.model_type not in expected:
            known = " and ".join(f"'{name}'" for name in types)
            raise UnsupportedModelError(
                f"The text model in {origin} has the type '{config.model_type}'; the converter "
                f"{self.hooks.name} supports {known}. Use another one (--converter-path)."
            )

    def _write_known_schema(self, known: dict[str, Any], origin: str) -> None:
        """Writes RoPE in a schema that the installed transformers knows."""
        parameters = known.get("rope_parameters")
        if _is_version_5() or not self.hooks.uses_rope():
            return
        if not isinstance(parameters, Mapping):
            return
        defaults = text_model_config(self.config_class())
        names = [name for name in _ROPE_DEFAULTS if hasattr(defaults, name)]
        rope = read_rope({**{name: getattr(defaults, name) for name in names}, **known}, origin)
        own = self.hooks.get_rope_fields(rope)
        check_transformers_4_knows(parameters, origin, has_local_base=LOCAL_BASE in own)
        if known.get("rope_scaling"):
            # Where both are given, transformers takes everything that it describes from it.
            own = {name: value for name, value in own.items() if name == LOCAL_BASE}
        known.update(own)
        del known["rope_parameters"]


def defaults_of(config_class: Any) -> Any:
    """A config object with a class's defaults, which is shared: it must not be changed."""
    return _defaults(config_class)


@functools.lru_cache(maxsize=32)
def _defaults(config_class: Any) -> Any:
    return config_class()


def text_model_config(config: Any) -> Any:
    """The config object of a composite's text model; of another model, its own."""
    return getattr(config, TEXT_CONFIG, config)


class UnreadableConfigError(UnsupportedModelError):
    """The installed transformers cannot make a config object from a file."""


def config_object(config_class: Any, fields: Mapping[str, Any], origin: str) -> Any:
    """The config object that a class makes of the content of a ``config.json``.

    Raises:
        UnreadableConfigError: The class refuses the content.
    """
    with _readable(origin):
        return config_class.from_dict(without_dtype(fields))


@contextmanager
def _readable(origin: str) -> Iterator[None]:
    try:
        yield
    except UnsupportedModelError:
        raise
    # Each config class has checks and errors of its own.
    except Exception as error:
        raise UnreadableConfigError(
            f"The installed transformers cannot read {origin}: {cause_of(error)}. "
            "Fix the file, or install another version of transformers."
        ) from error


def complete_config(config: SourceConfig, hf_config: Any, hooks: FamilyHooks) -> SourceConfig:
    """The content of a config file, completed with the fields of its config object.

    The object has the class's defaults and derived fields (a disabled window, the size of a
    head). RoPE is included in the schemas of both transformers versions.
    """
    from transformers import PretrainedConfig

    everything = hf_config.to_dict()
    inherited = defaults_of(PretrainedConfig).to_dict().keys() - set(BASE_CONFIG_FIELDS)
    own = {name: everything[name] for name in everything if name not in inherited}
    # Alternative names of its fields, which another version of transformers may write.
    others = (*BASE_CONFIG_FIELDS, *hf_config.attribute_map)
    own |= {name: getattr(hf_config, name) for name in others if hasattr(hf_config, name)}
    if hooks.uses_rope():
        # Also by the family's own names, so that the result does not depend on the file's schema.
        rope = rope_of(hf_config, config.origin)
        own |= {**hooks.get_rope_fields(rope), **rope.to_fields()}
    return config.updated(own)


def rope_of(hf_config: Any, origin: str) -> RopeParameters:
    """The rotary embedding that a config object describes."""
    names = (*ROPE_FIELDS, ORIGINAL_LENGTH, "partial_rotary_factor", "max_position_embeddings")
    fields = {name: getattr(hf_config, name, None) for name in names}
    rope = read_rope(copy.deepcopy(fields), origin)
    if not rope.by_kind and hasattr(defaults_of(type(hf_config)), LOCAL_BASE):
        # As transformers 4 has it; another class may have a field of that name without a meaning.
        local = RopeParameters("default", getattr(hf_config, LOCAL_BASE), {})
        return replace(rope, by_kind={LOCAL_KIND: local})
    return rope


def rope_fields_of(hf_config: Any, hooks: FamilyHooks, origin: str) -> Mapping[str, Any]:
    """The RoPE fields in configs of a family that correspond to a config object."""
    return hooks.get_rope_fields(rope_of(hf_config, origin)) if hooks.uses_rope() else {}


def warn_of_other_reading(config: SourceConfig, config_class: Any) -> None:
    """Warns if transformers 4 loads another model than version 5."""
    if longrope_ambiguous_in_v4(config, hasattr(defaults_of(config_class), ORIGINAL_LENGTH)):
        logger.warning(
            "transformers 4 reads the original context length of %s from another field than "
            "version 5, and computes different logits; this conversion follows version 5",
            config.origin,
        )


def with_max_length(hf_config: Any, max_length: int | None, origin: str) -> Any:
    """A config object with another maximum length, if one is requested.

    RoPE does not change: parameters derived from the maximum length are stated first.
    """
    if max_length is None:
        return hf_config
    changed = copy.deepcopy(hf_config)
    text = text_model_config(changed)
    _write_rope(text, rope_of(text, origin))
    text.max_position_embeddings = max_length
    return changed


def without_dtype(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a config's fields without the dtype, which each run chooses.

    The copy is deep, because config classes modify what they are given.
    """
    return {
        name: copy.deepcopy(value) for name, value in fields.items() if name not in DTYPE_FIELDS
    }


def _is_version_5() -> bool:
    import transformers
    from packaging.version import Version

    return Version(transformers.__version__).major >= 5


def _normalize_rope_for_v4(config: Any, origin: str) -> None:
    """Makes transformers 4 compute RoPE like version 5 if they read different fields."""
    if not _is_version_5() and getattr(config, "rope_scaling", None):
        _write_rope(config, rope_of(config, origin))


def _state_unscaled_windows(config: Any, origin: str) -> None:
    """States what transformers 4 leaves to the model's code, where only this package reads it."""
    rope = rope_of(config, origin)
    local = RopeParameters("default", rope.theta, {})
    config.rope_parameters = replace(rope, by_kind={LOCAL_KIND: local}).to_fields()[
        "rope_parameters"
    ]


def _write_rope(config: Any, rope: RopeParameters) -> None:
    fields = rope.to_fields()
    if not any(hasattr(config, name) for name in ROPE_FIELDS):
        return
    if not _is_version_5():
        del fields["rope_parameters"]
    elif isinstance(getattr(config, "rope_parameters", None), Mapping):
        fields = {"rope_parameters": fields["rope_parameters"]}
    else:
        return
    for name, value in fields.items():
        setattr(config, name, value)
