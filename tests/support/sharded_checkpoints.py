"""Writes distributed checkpoints with torch, from several processes."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.state_dict_saver import save as save_checkpoint
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Shard, distribute_tensor

from support.processes import run_together

State = Mapping[str, torch.Tensor]


def save_fully_sharded(directory: Path, state: State, count: int = 2, key: str = "model") -> None:
    """Saves a state with an optimizer's from a module that FSDP2 has divided.

    Args:
        directory: Where; it is created.
        state: The module's parameters.
        count: How many processes divide it.
        key: What leads to the module's state; nothing if it is empty.
    """

    def save(rank: int) -> None:
        dist.init_process_group("gloo")
        model = _module(state)
        fully_shard(model, mesh=init_device_mesh("cpu", (count,)))
        content: dict[str, Any] = dict(model.state_dict())
        if key:
            moments = {name: {"exp_avg": value} for name, value in content.items()}
            content = {key: content, "optimizer": {"state": moments}, "step": 3}
        save_checkpoint(content, checkpoint_id=directory)
        dist.destroy_process_group()

    assert run_together(count, save) == [0] * count


def save_divided(directory: Path, state: State, mesh: tuple[int, ...], dims: Sequence[int]) -> None:
    """Saves tensors that are divided in some dimension for each dimension of a mesh."""
    count = int(torch.tensor(mesh).prod())

    def save(rank: int) -> None:
        dist.init_process_group("gloo")
        device_mesh = init_device_mesh("cpu", mesh)
        placements = [Shard(dim) for dim in dims]
        divided = {
            name: distribute_tensor(value, device_mesh, placements) for name, value in state.items()
        }
        save_checkpoint(divided, checkpoint_id=directory)
        dist.destroy_process_group()

    assert run_together(count, save) == [0] * count


def save_alone(directory: Path, content: Mapping[str, Any]) -> None:
    """Saves from this process alone."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
        save_checkpoint(dict(content), checkpoint_id=directory, no_dist=True)


def _module(state: State) -> nn.Module:
    """A module with the given parameters, whatever it computes."""
    root = nn.Module()
    for name, value in state.items():
        *path, last = name.split(".")
        module = root
        for part in path:
            if part not in dict(module.named_children()):
                module.add_module(part, nn.Module())
            module = module.get_submodule(part)
        module.register_parameter(last, nn.Parameter(value.clone()))
    return root
