"""Tiny models of a family, with random weights, from its config class alone."""

import copy
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from forgather_convert.dynamic_model.code_generator import generate_code
from forgather_convert.dynamic_model.loading import load_generated_code
from forgather_convert.dynamic_model.project import Project
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.families.transformers_classes import registered_classes
from forgather_convert.models.parameters import parameters_of
from forgather_convert.models.reference import ReferenceClasses, complete_config, rope_fields_of
from forgather_convert.source.config_file import CONFIG_FILE, SourceConfig
from forgather_convert.source.rope import ROPE_FIELDS

#: Small sizes for a standard decoder. The numbers of heads and of groups differ, so that they
#: cannot be confused.
TINY_SIZES: Mapping[str, int] = {
    "vocab_size": 128,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 64,
}
#: Fields whose defaults in many families do not fit a vocabulary this small.
TINY_TOKENS: Mapping[str, int] = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_WEIGHTS_FILE = "model.safetensors"
_SEED = 0


def tiny_cases(hooks: FamilyHooks) -> dict[str, Callable[[], Any]]:
    """Hugging Face configs of tiny models: a description of each, and a function that makes it.

    These are the converter's tiny configs, or if it has none, the defaults of its config class
    with small sizes.
    """
    # The family's configs may have fields that the class of an alias names differently.
    has_own_class = hooks.is_alias and registered_classes(hooks.model_type) is not None
    own = {} if has_own_class else hooks.get_tiny_configs()
    if own:
        return {
            f"config '{name}'": partial(_read_config, hooks, name, fields)
            for name, fields in own.items()
        }
    return {
        "embeddings untied": partial(_default_config, hooks, is_tied=False),
        "embeddings tied": partial(_default_config, hooks, is_tied=True),
    }


def _read_config(hooks: FamilyHooks, name: str, fields: Mapping[str, Any]) -> Any:
    content = {**copy.deepcopy(dict(fields)), "model_type": hooks.model_type}
    config = ReferenceClasses.of(hooks).read(content, f"the tiny config '{name}'")
    config.architectures = [hooks.get_hf_model_class().__name__]
    return config


def _default_config(hooks: FamilyHooks, is_tied: bool) -> Any:
    config_class = hooks.get_hf_config_class()
    defaults = config_class()
    sizes = {name: size for name, size in TINY_SIZES.items() if hasattr(defaults, name)}
    config = config_class(**sizes, **TINY_TOKENS, tie_word_embeddings=is_tied)
    config.architectures = [hooks.get_hf_model_class().__name__]
    return config


def project_of(hooks: FamilyHooks, hf_config: Any) -> tuple[SourceConfig, Project]:
    """The completed config and the dynamic model of a Hugging Face config."""
    fields = {**hf_config.to_dict(), "model_type": hooks.model_type}
    config = complete_config(SourceConfig(fields, "the tiny config"), hf_config, hooks)
    return config, hooks.project(config, None)


def build_forgather(project: Project) -> Any:
    """The generated model, on the current torch device."""
    classes = load_generated_code(generate_code(project))
    return classes.model_class(classes.config_class(**project.config))


def write_tiny_model(directory: Path, hooks: FamilyHooks, config: Any) -> None:
    """Writes a Hugging Face directory with random weights, even for norms.

    With weights of one, a norm would hide the order in which it rounds.
    """
    import torch
    from safetensors.torch import save_file

    model_class = hooks.get_hf_model_class()
    generator = torch.Generator().manual_seed(_SEED)
    weights = {}
    for name, shape in parameters_of(lambda: model_class(config)).shapes.items():
        center = float(len(shape) == 1)
        values = torch.randn(shape, generator=generator) * 0.3 + center
        weights[name] = values.to(torch.bfloat16)
    directory.mkdir(parents=True)
    save_file(weights, directory / _WEIGHTS_FILE, metadata={"format": "pt"})
    # A family that borrows another family's classes has its own model type.
    content = json.loads(config.to_json_string())
    # Not every version can read RoPE in its in-memory form.
    written = rope_fields_of(config, hooks, "the tiny config")
    content = {name: value for name, value in content.items() if name not in ROPE_FIELDS}
    content.update(written)
    content.update(model_type=hooks.model_type, dtype="bfloat16")
    (directory / CONFIG_FILE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
