"""Tensors without values that record how they are rearranged."""

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import torch

from forgather_convert.tensors.expressions import Concatenate, Expression, Permute, Reshape
from forgather_convert.tensors.rearrangements import part_of, template

_SAME = ("clone", "contiguous", "detach")
_RESHAPED = ("flatten", "reshape", "squeeze", "unsqueeze", "view")
#: The functions of torch that only rearrange tensors, as far as transformers needs them.
_RECORDED = {*_SAME, *_RESHAPED, "transpose", "chunk", "split", "cat", "stack"}


class TracedTensor(torch.Tensor):
    """A tensor on the meta device that is a rearrangement of others."""

    _rearrangement: Expression | None

    @staticmethod
    def of(name: str, tensor: torch.Tensor) -> "TracedTensor":
        """A tensor of another's name and shape, from which others can be made."""
        traced = tensor.detach().to("meta").as_subclass(TracedTensor)
        dtype = str(tensor.dtype).removeprefix("torch.")
        traced._rearrangement = template(name, dtype, tuple(tensor.shape))
        return traced

    @classmethod
    def __torch_function__(
        cls,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        run: Callable[..., Any] = super().__torch_function__
        result = run(function, types, tuple(args), options)
        if function.__name__ not in _RECORDED:
            return result
        # Looking at a tensor calls this function, too.
        with torch._C.DisableTorchFunctionSubclass():
            for tensor, value in _rearranged(function.__name__, args, options, result):
                tensor._rearrangement = value
        return result


def rearrangement_of(tensor: torch.Tensor) -> Expression | None:
    """What a tensor is made of; ``None`` if that is not a mere rearrangement."""
    return getattr(tensor, "_rearrangement", None)


def _rearranged(
    function: str, args: Sequence[Any], options: Mapping[str, Any], result: Any
) -> list[tuple[Any, Expression]]:
    """The results of a function, each with what it is made of; empty if that is not known."""
    values = [rearrangement_of(each) for each in (args[0] if _is_list(args[0]) else args[:1])]
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return []
    value = known[0]
    if function in _SAME:
        return [(result, value)]
    if function in _RESHAPED:
        # A view may also be one of the same bytes as other numbers.
        is_reshaped = result.dtype == args[0].dtype
        return [(result, Reshape(value, tuple(result.shape)))] if is_reshaped else []
    if function == "transpose":
        dims = list(range(len(value.shape)))
        one, other = (
            _argument(args, options, name, place) for place, name in enumerate(("dim0", "dim1"), 1)
        )
        dims[one], dims[other] = dims[other], dims[one]
        return [(result, Permute(value, tuple(dims)))]
    if function in ("chunk", "split"):
        dim = _argument(args, options, "dim", 2) % len(value.shape)
        sizes = [part.shape[dim] for part in result]
        ends = accumulate(sizes)
        return [
            (part, part_of(value, dim, end - size, size))
            for part, size, end in zip(result, sizes, ends, strict=True)
        ]
    dim = _argument(args, options, "dim", 1) % result.dim()
    if function == "stack":
        shape = (*value.shape[:dim], 1, *value.shape[dim:])
        known = [Reshape(each, shape) for each in known]
    return [(result, Concatenate(tuple(known), dim))]


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _argument(args: Sequence[Any], options: Mapping[str, Any], name: str, place: int) -> int:
    value = args[place] if len(args) > place else options.get(name, 0)
    return int(value)
