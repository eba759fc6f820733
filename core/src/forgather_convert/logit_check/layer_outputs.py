"""Measures the effect of a cast on the output of each layer."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from forgather_convert.logit_check.alignment import layer_numbers
from forgather_convert.logit_check.trace import first_tensor

#: For how many of the last positions outputs are kept: all of them could be gigabytes.
_NUM_POSITIONS = 8


@contextmanager
def layer_outputs(model: Any) -> Iterator[Mapping[int, torch.Tensor]]:
    """Records the outputs of each layer at the last positions of the last run, by its number.

    The tensors are ``[batch, positions, hidden]``, on the CPU.
    """
    outputs: dict[int, torch.Tensor] = {}

    def keep(number: int, output: Any) -> None:
        tensor = first_tensor(output)
        if tensor is not None:
            outputs[number] = tensor.detach()[:, -_NUM_POSITIONS:].clone().cpu()

    layers = layer_numbers(name for name, _ in model.named_modules())
    with ExitStack() as stack:
        for name, number in layers.items():
            hook = model.get_submodule(name).register_forward_hook(
                lambda module, args, output, number=number: keep(number, output)
            )
            stack.callback(hook.remove)
        yield outputs


def relative_differences(
    reference: Mapping[int, torch.Tensor], outputs: Mapping[int, torch.Tensor]
) -> tuple[tuple[int, float], ...]:
    """For each layer its number and ``|x - y| / |x|`` over all values, with ``x`` the reference.

    Layers whose outputs contain NaN, or are all zero, are left out.
    """
    differences = []
    for number in sorted(reference.keys() & outputs.keys()):
        one, other = reference[number].double(), outputs[number].double()
        difference = float((one - other).norm() / one.norm())
        if 0.0 <= difference < float("inf"):
            differences.append((number, difference))
    return tuple(differences)
