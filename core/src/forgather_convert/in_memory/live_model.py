"""A Forgather model in memory, as a value."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgather_convert.errors import UnsupportedModelError
from forgather_convert.in_memory.processes import Processes
from forgather_convert.quantities import counted
from forgather_convert.source.config_file import CONFIG_FILE, SourceConfig, read_config
from forgather_convert.source.forgather_signs import is_forgather_config
from forgather_convert.source.model_directory import find_model_directory
from forgather_convert.tensors.names import collapse_names

if TYPE_CHECKING:
    import torch

#: The attributes by which wrappers of torch keep what they wrap: ``torch.compile``, DDP.
_WRAPPED = ("_orig_mod", "module")


@dataclass(frozen=True)
class LiveModel:
    """A Forgather model in memory.

    Attributes:
        module: The model, without wrappers.
        tensors: The tensors of its checkpoints, by their names; of tied ones only the first.
        processes: The processes that hold it.
    """

    module: Any
    tensors: "Mapping[str, torch.Tensor]"
    processes: Processes


def directory_of(module: Any) -> Path | None:
    """The directory of a Forgather model that a model was loaded from; ``None`` if it is gone.

    If it was loaded from a checkpoint, that is the model of the checkpoint.
    """
    name = getattr(module, "name_or_path", "")
    path = Path(name)
    if not name or not path.is_dir():
        return None
    directory = find_model_directory(path, any_config=False) or path
    if not (directory / CONFIG_FILE).is_file() or not is_forgather_config(read_config(directory)):
        return None
    return directory


def live_model(model: Any) -> LiveModel:
    """Looks at a model in memory.

    Raises:
        UnsupportedModelError: It is no Forgather model, or has no values.
    """
    module = unwrapped(model)
    config: Any = getattr(module, "config", None)
    if not hasattr(module, "save_pretrained") or not hasattr(config, "to_dict"):
        raise UnsupportedModelError(
            f"{type(module).__name__} is not a model of transformers. Give the model that "
            "AutoModelForCausalLM loaded from a Forgather directory."
        )
    if is_peft(module):
        raise UnsupportedModelError(
            "The model has adapters of PEFT. Merge them with merge_and_unload(), or save them "
            "with save_as_hf."
        )
    if not is_forgather_config(SourceConfig(config.to_dict(), "the model's config")):
        raise UnsupportedModelError(
            f"{type(module).__name__} is not a Forgather model, according to its config. Save a "
            "Hugging Face model with its own save_pretrained."
        )
    tensors = _tensors(module)
    return LiveModel(module, tensors, Processes.of(tensors.values()))


def unwrapped(model: Any) -> Any:
    """A model without what torch wraps it in."""
    while inner := next((name for name in _WRAPPED if name in getattr(model, "_modules", {})), ""):
        model = getattr(model, inner)
    return model


def twin(module: Any) -> Any:
    """A model for a check, which shares the tensors of another, but not its hooks and mode."""
    from forgather_convert.models.meta_device import on_meta_device

    with on_meta_device():
        model = type(module)(copy.deepcopy(module.config))
    tensors = {**dict(module.named_buffers()), **module.state_dict()}
    for name, _ in [*model.named_buffers()]:
        owner, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(owner), attribute, tensors[name].detach())
    model.load_state_dict(
        {name: tensors[name].detach() for name in model.state_dict()}, assign=True
    )
    model.tie_weights()
    return model.requires_grad_(False).eval()


def is_peft(model: Any) -> bool:
    """Whether a model is wrapped by PEFT."""
    return hasattr(model, "peft_config") and hasattr(model, "get_base_model")


def _tensors(module: Any) -> "dict[str, torch.Tensor]":
    ignored = getattr(module, "_keys_to_ignore_on_save", None) or ()
    tensors: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, tensor in module.state_dict(keep_vars=True).items():
        # A tied one appears by each of its names.
        if name not in ignored and id(tensor) not in seen:
            seen.add(id(tensor))
            tensors[name] = tensor.detach()
    empty = [name for name, tensor in tensors.items() if tensor.is_meta]
    if empty:
        raise UnsupportedModelError(
            f"The model has {counted(len(empty), 'tensor')} without values (device 'meta'):"
            f"{collapse_names(empty)}\nGive them memory with to_empty(), tie them again with "
            "tie_weights(), and load their values first."
        )
    _refuse_untied(module)
    _refuse_partial(tensors)
    return tensors


def _refuse_untied(module: Any) -> None:
    if not getattr(module.config, "tie_word_embeddings", False):
        return
    embedding, head = module.get_input_embeddings(), module.get_output_embeddings()
    if embedding is None or head is None or embedding.weight is head.weight:
        return
    raise UnsupportedModelError(
        "The model's config ties its head to its embedding, but they are two tensors in memory. "
        "Call tie_weights(), or set tie_word_embeddings to False in its config."
    )


def _refuse_partial(tensors: "Mapping[str, torch.Tensor]") -> None:
    from torch.distributed.tensor import DTensor

    partial = [
        name
        for name, tensor in tensors.items()
        if isinstance(tensor, DTensor) and any(each.is_partial() for each in tensor.placements)
    ]
    if partial:
        raise UnsupportedModelError(
            f"The model has {counted(len(partial), 'tensor')} whose sum over processes is not "
            f"computed yet:{collapse_names(partial)}\nRedistribute them first."
        )
