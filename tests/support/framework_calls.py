"""The calls that the Forgather framework makes on a model and its files.

Written after the framework was read and run (``tests/framework_real`` runs it): each function does
what one of its functions does, as far as a model can notice. Where the framework changes, the tests
there show it, and these follow.
"""

import copy
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

INDEX = "pytorch_model.bin.index.json"
#: What a directory's weights are looked for in, the first that there is.
_WEIGHTS = ("model.safetensors.index.json", INDEX, "pytorch_model.bin", "model.safetensors")


def build(directory: Path, device: str = "cpu") -> Any:
    """Builds a model from its config, as trainings and evaluations do.

    Code is trusted where the config is loaded, and only there. On the meta device the memory is
    allocated afterwards, which parts tied weights; the framework ties them again by the names that
    shared a tensor before.
    """
    config = AutoConfig.from_pretrained(directory, trust_remote_code=True)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    if device == "meta":
        sharing = _names_of_shared_tensors(model)
        model.to_empty(device="cpu")
        retie(model, sharing)
    return model


def _names_of_shared_tensors(model: nn.Module) -> list[list[str]]:
    names = defaultdict(list)
    for name, tensor in model.state_dict(keep_vars=True).items():
        names[id(tensor)].append(name)
    return [group for group in names.values() if len(group) > 1]


def retie(model: nn.Module, sharing: list[list[str]]) -> None:
    """Gives the first of each group of names to the others; a stage may have some of them."""
    own = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    for group in sharing:
        first, *others = [name for name in group if name in own] or [""]
        for name in others:
            module, _, attribute = name.rpartition(".")
            setattr(model.get_submodule(module), attribute, model.get_parameter(first))


def load_checkpoint(directory: Path, model: nn.Module) -> None:
    """Loads weights as the trainer and the inference server do: all of them, or it is an error."""
    name = next(name for name in _WEIGHTS if (directory / name).exists())
    if not name.endswith(".json"):
        model.load_state_dict(_read(directory / name), strict=True)
        return
    weight_map = json.loads((directory / name).read_text())["weight_map"]
    missing = set(model.state_dict())
    if not missing <= weight_map.keys():
        raise RuntimeError(f"{name} lacks {sorted(missing - weight_map.keys())}")
    for file in {weight_map[key] for key in missing}:
        state_dict = _read(directory / file)
        missing -= state_dict.keys()
        model.load_state_dict(state_dict, strict=False)
    if missing:
        raise RuntimeError(f"The files of {name} lack {sorted(missing)}")


def _read(path: Path) -> dict[str, torch.Tensor]:
    if path.suffix == ".safetensors":
        return load_file(path)
    state_dict: dict[str, torch.Tensor] = torch.load(path, weights_only=True, mmap=True)
    return state_dict


def save_checkpoint(directory: Path, model: nn.Module) -> Path:
    """Saves weights as the trainer does: ``.bin`` with an index, tied ones by both names."""
    directory.mkdir(parents=True, exist_ok=True)
    file = "pytorch_model-00001-of-00001.bin"
    state_dict = model.state_dict()
    torch.save(state_dict, directory / file)
    metadata = {"total_size": sum(each.untyped_storage().nbytes() for each in state_dict.values())}
    if sharing := _names_of_shared_tensors(model):
        metadata["param_sharing"] = sharing
    index = {"metadata": metadata, "weight_map": dict.fromkeys(state_dict, file)}
    (directory / INDEX).write_text(json.dumps(index, indent=4))
    return directory


def link(directory: Path, checkpoint: Path, force: bool = False) -> None:
    """Links a checkpoint's files in the model's directory (``forgather checkpoint link``)."""
    weight_map = json.loads((checkpoint / INDEX).read_text())["weight_map"]
    for name in (INDEX, *sorted(set(weight_map.values()))):
        place = directory / name
        if place.exists() and not place.is_symlink() and not force:
            raise FileExistsError(f"{place} exists and is not a symlink")
        place.unlink(missing_ok=True)
        place.symlink_to(checkpoint / name)


def split(model: Any, *layers_of_stages: tuple[int, ...]) -> list[Any]:
    """Divides a model into stages by deleting what a stage does not have.

    Args:
        model: The model; it stays as it is.
        layers_of_stages: The numbers of the layers of each stage, which may be none. The first has
            the embedding, too, the last the norm and the head.
    """
    stages = [copy.deepcopy(model) for _ in layers_of_stages]
    for stage, kept in zip(stages, layers_of_stages, strict=True):
        causal_lm = stage.causal_lm
        if stage is not stages[0]:
            causal_lm.input_encoder = None
        layers = causal_lm.layer_stack.layers
        if kept:
            for name in list(layers.keys()):
                if int(name) not in kept:
                    del layers[name]
        else:
            causal_lm.layer_stack.layers = nn.ModuleDict()
        if stage is not stages[-1]:
            stage.lm_head = None
            causal_lm.layer_stack.layer_norm = None
            if not kept:
                causal_lm.layer_stack = None
    return stages


def run_stages(stages: list[Any], ids: torch.Tensor, **arguments: Any) -> torch.Tensor:
    """Hands a stage's output to the next as its first argument; each must be a bare tensor."""
    value = ids
    with torch.no_grad():
        for stage in stages:
            value = stage(value, **arguments)
            if not isinstance(value, torch.Tensor):
                raise TypeError(f"A stage gave {type(value).__name__}.")
    return value
