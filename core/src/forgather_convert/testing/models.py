"""Writes tiny models with random weights to disk."""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.models.reference import ReferenceClasses, rope_fields_of
from forgather_convert.models.saved_state import saved_state
from forgather_convert.source.rope import (
    DEFAULT_THETA,
    MAIN_KIND,
    ROPE_FIELDS,
    RopeParameters,
    parameters_by_kind,
)

State = Mapping[str, torch.Tensor]

_ORIGINAL_LENGTH = "original_max_position_embeddings"


def rope_field_names(hooks: FamilyHooks) -> tuple[str, ...]:
    """The RoPE fields in a family's Hugging Face configs."""
    if not hooks.uses_rope():
        return ()
    fields = hooks.get_rope_fields(RopeParameters("default", DEFAULT_THETA, {}))
    return tuple(name for name in ROPE_FIELDS if name in fields)


def config_content(
    hooks: FamilyHooks, fields: Mapping[str, Any], schema: str = "both"
) -> dict[str, Any]:
    """The content of a ``config.json``, without RoPE if the family has none.

    Args:
        hooks: The family's converter.
        fields: The config's fields, with RoPE in either schema.
        schema: The RoPE schema to write: transformers' ``"4"``, ``"5"`` or ``"both"``.
    """
    # Config classes modify the dictionaries that they are given.
    content = copy.deepcopy(dict(fields))
    written = content.get("rope_scaling") or content.get("rope_parameters") or {}
    kinds = parameters_by_kind(written)
    main = kinds.pop(MAIN_KIND, written)
    theta = main.get("rope_theta", content.get("rope_theta", DEFAULT_THETA))
    scaling = {name: value for name, value in main.items() if name != "rope_theta"}
    rope_type = scaling.get("rope_type", scaling.get("type", "default"))
    for name in ROPE_FIELDS:
        content.pop(name, None)
    if not hooks.uses_rope():
        schema = "none"
    elif "rope_scaling" not in rope_field_names(hooks):
        # It may have no parameters for all kinds of layers, and then it has its own defaults.
        schema = "5" if written else "none"
    parameters = {**scaling, "rope_type": rope_type, "rope_theta": theta}
    if kinds:
        parameters = {MAIN_KIND: parameters, **kinds}
    if schema in ("4", "both"):
        origin = "the config of a test"
        config = ReferenceClasses.of(hooks).read({**content, "rope_parameters": parameters}, origin)
        # Some families have their own names for it.
        content |= rope_fields_of(config, hooks, origin)
        content["rope_theta"] = theta
        content["rope_scaling"] = scaling if scaling.keys() - {"rope_type", "type"} else None
        del content["rope_parameters"]
    if schema in ("5", "both"):
        content["rope_parameters"] = parameters
    if rope_type == "longrope" and _ORIGINAL_LENGTH in scaling:
        # transformers 4 reads it only from here.
        content[_ORIGINAL_LENGTH] = scaling[_ORIGINAL_LENGTH]
    return {
        "architectures": [hooks.get_hf_model_class().__name__],
        "model_type": hooks.model_type,
        **copy.deepcopy(content),
    }


def write_model(
    directory: Path,
    hooks: FamilyHooks,
    fields: Mapping[str, Any],
    dtype: str = "float32",
    schema: str = "both",
    shards: int = 1,
    state: State | None = None,
) -> Path:
    """Writes a Hugging Face model directory, without a tokenizer.

    Its weights are those that ``save_pretrained`` of the family's class writes; its config has
    only the given fields.

    Args:
        directory: The directory, which is created if it does not exist.
        hooks: The converter of the family.
        fields: The config's fields.
        dtype: The dtype of weights and config.
        schema: The RoPE schema: transformers' ``"4"``, ``"5"`` or ``"both"``.
        shards: The number of weights files.
        state: The model's parameters and buffers, by its own names, instead of random ones.
    """
    directory.mkdir(parents=True, exist_ok=True)
    save_model(directory, hooks, fields, dtype, state)
    if shards > 1:
        weights = read_weights(directory)
        (directory / "model.safetensors").unlink()
        write_weights(directory, weights, shards)
    content = {**config_content(hooks, fields, schema), "dtype": dtype}
    write_json(directory / "config.json", content)
    tokens = {name: fields[name] for name in fields if name.endswith("_token_id")}
    write_json(directory / "generation_config.json", tokens)
    return directory


def save_model(
    directory: Path,
    hooks: FamilyHooks,
    fields: Mapping[str, Any],
    dtype: str = "float32",
    state: State | None = None,
) -> None:
    """Saves a model with ``save_pretrained``: config, generation config and weights.

    Random weights replace the zeros and ones of a new model: with weights of one, a norm would
    hide the order in which it rounds.
    """
    classes = ReferenceClasses.of(hooks)
    content = config_content(hooks, fields)
    config = classes.read(content, "the config of a test")
    model = classes.model_class(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in stored_tensors(model).items():
            if state is None:
                is_norm = tensor.ndim == 1 and not name.endswith("bias")
                noise = torch.randn(tensor.shape, generator=generator) * 0.3
                tensor.copy_(noise + (1.0 if is_norm else 0.0))
            else:
                tensor.copy_(state[name])
    if "rope_scaling" in vars(config):
        # The model follows version 5's reading; version 4 would save the written fields.
        config.rope_scaling = content.get("rope_scaling")
    model.to(getattr(torch, dtype)).save_pretrained(directory)


def save_as_in_memory(model: Any, directory: Path) -> bool:
    """Saves a model as it is in memory; returns whether that is not the form of checkpoints."""
    saved = saved_state(model)
    if saved.loaded_names == saved.shapes.keys():
        return False
    model.save_pretrained(directory, save_original_format=False)
    return True


def stored_tensors(model: Any) -> dict[str, torch.Tensor]:
    """The parameters and buffers that are saved for a model; tied ones once."""
    stored = model.state_dict()
    buffers = {name: buffer for name, buffer in model.named_buffers() if name in stored}
    return {**dict(model.named_parameters()), **buffers}


def write_weights(directory: Path, state: State, shards: int = 1) -> None:
    """Writes safetensors into one file, or into several with an index."""
    metadata = {"format": "pt"}
    if shards == 1:
        save_file(dict(state), directory / "model.safetensors", metadata=metadata)
        return
    names = list(state)
    weight_map = {}
    for number in range(shards):
        own = names[number::shards]
        file_name = f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
        save_file({name: state[name] for name in own}, directory / file_name, metadata=metadata)
        weight_map.update(dict.fromkeys(own, file_name))
    total = sum(tensor.nbytes for tensor in state.values())
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    write_json(directory / "model.safetensors.index.json", index)


def read_weights(directory: Path) -> dict[str, torch.Tensor]:
    """All tensors of a directory's safetensors files."""
    state: dict[str, torch.Tensor] = {}
    for path in sorted(directory.glob("*.safetensors")):
        state.update(load_file(path))
    return state


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes JSON as transformers does."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
