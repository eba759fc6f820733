"""Briefly runs a model without values, to find out whether it can run with its config.

A model that transformers can build may still fail in its forward pass: for example, if a router
chooses more experts than there are, or a window is not a number. Running it on the ``meta`` device
would not tell, since code that depends on values fails there for every config. So all tensors of
the model are zeros on the CPU. Large parameters take the memory of a single number, and results
computed with them only get their shapes, from the ``meta`` device; everything else is computed.
"""

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from forgather_convert.models.loading import quiet_transformers
from forgather_convert.source.rope import ROPE_FIELDS

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

#: The maximum number of elements of a parameter with its own memory.
_SMALL = 2**12
#: The maximum number of elements of a result with its own memory.
_LARGEST_RESULT = 2**24
#: The maximum number of elements of parameters that are read if the ``meta`` device gives no shape.
_LARGEST_OPERANDS = 2**24
_LENGTH = 2


def error_in_run(model: Any) -> Exception | None:
    """Runs a model on a prompt and then, with its cache, on one token.

    Args:
        model: A causal LM on the ``meta`` device, whose tensors are replaced.

    Returns:
        Its exception; ``None`` if it runs, or if this cannot be determined without its memory.
    """
    import torch

    _fill(model)
    try:
        with (
            quiet_transformers(),
            warnings.catch_warnings(),
            _plain_experts(model.config),
            torch.no_grad(),
            _shapes_mode(),
        ):
            warnings.simplefilter("ignore")
            _run(model.eval())
    except _UndecidedError as error:
        logger.debug("Whether the model runs is not known: %s", error)
    # Models raise exceptions of many types.
    except Exception as error:
        return error
    return None


def most_positions(config: Any) -> int | None:
    """The number of positions a model has; ``None`` if RoPE makes it unlimited."""
    if any(hasattr(config, name) for name in ROPE_FIELDS):
        return None
    return getattr(config, "max_position_embeddings", None)


class _UndecidedError(Exception):
    """The result of an operation is unknown without computing it, which takes too much memory."""


def _run(model: Any) -> None:
    import torch

    most = most_positions(model.config) or _LENGTH + 1
    ids = torch.zeros((1, max(1, min(_LENGTH, most - 1))), dtype=torch.long)
    output = model(input_ids=ids, use_cache=True)
    cache = getattr(output, "past_key_values", None)
    if cache is not None and ids.shape[1] < most:
        model(input_ids=ids[:, :1], past_key_values=cache, use_cache=True)


@contextmanager
def _plain_experts(config: Any) -> Iterator[None]:
    """Has experts computed one by one, since kernels for all at once need a device or a dtype."""
    name = "_experts_implementation"
    before = getattr(config, name, None)
    if before is None:
        yield
        return
    setattr(config, name, "eager")
    try:
        yield
    finally:
        setattr(config, name, before)


def _fill(model: Any) -> None:
    """Replaces the tensors of a model with zeros; shared tensors remain shared."""
    import torch

    zeros: dict[int, torch.Tensor] = {}
    # The old tensors are kept until the end, so that their ids remain unique.
    replaced = []
    for module in model.modules():
        # Some modules have unregistered tensors.
        for tensors in (module._parameters, module._buffers, vars(module)):
            for name, tensor in tensors.items():
                if not isinstance(tensor, torch.Tensor):
                    continue
                replaced.append(tensor)
                if id(tensor) not in zeros:
                    zeros[id(tensor)] = _zeros_like(tensor)
                tensors[name] = zeros[id(tensor)]


def _zeros_like(tensor: "torch.Tensor") -> "torch.Tensor":
    import torch

    if not isinstance(tensor, torch.nn.Parameter):
        return torch.zeros(tensor.shape, dtype=tensor.dtype)
    return torch.nn.Parameter(_zeros(tensor, _SMALL), requires_grad=False)


def _zeros(tensor: "torch.Tensor", largest: int) -> "torch.Tensor":
    """Zeros in the shape of a tensor; the elements of a large one share one number in memory."""
    import torch

    if tensor.numel() <= largest:
        return torch.zeros(tensor.shape, dtype=tensor.dtype)
    return torch.zeros((), dtype=tensor.dtype).expand(tensor.shape)


def _shapes_mode() -> Any:
    """A mode in which results computed with large parameters are zeros of the right shape."""
    import torch
    from torch.overrides import TorchFunctionMode

    class ShapesMode(TorchFunctionMode):
        def __torch_function__(
            self,
            func: Callable[..., Any],
            types: Any,
            args: tuple[Any, ...] = (),
            kwargs: Mapping[str, Any] | None = None,
        ) -> Any:
            kwargs = kwargs or {}
            # Attributes such as the shape are available without memory.
            if getattr(func, "__name__", "") == "__get__":
                return func(*args, **kwargs)
            tensors = _tensors((*args, *kwargs.values()))
            operands = [value for value in tensors if _is_large(value)]
            if not operands:
                return func(*args, **kwargs)
            if func is torch.Tensor.__getitem__:
                args = _with_plain_index(args)
                tensors = _tensors(args)
            try:
                result = func(*_mapped(args, _on_meta), **_mapped(kwargs, _on_meta))
            # The meta device does not support every operation, or the operation is wrong.
            except Exception as error:
                if func in (torch.nn.functional.linear, torch.nn.functional.embedding):
                    raise
                if sum(value.numel() for value in operands) > _LARGEST_OPERANDS:
                    raise _UndecidedError(f"{type(error).__name__}: {error}") from error
                return func(*args, **kwargs)
            # A result of parameters alone is a part of them, and is not written to.
            is_part = len(operands) == len(tensors)
            return _mapped(
                result, partial(_in_memory, largest=_SMALL if is_part else _LARGEST_RESULT)
            )

    return ShapesMode()


def _with_plain_index(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments of an indexing operation, with numbers instead of tensors with one element."""
    import torch

    tensor, index = args
    if isinstance(index, torch.Tensor) and index.dim() == 0 and index.dtype is torch.long:
        return tensor, int(index)
    return args


def _is_large(tensor: "torch.Tensor") -> bool:
    return tensor.numel() > _SMALL and not any(tensor.stride())


def _on_meta(value: Any) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        return torch.empty(value.shape, dtype=value.dtype, device="meta")
    return torch.device("meta") if isinstance(value, torch.device) else value


def _in_memory(value: Any, largest: int) -> Any:
    import torch

    is_meta = isinstance(value, torch.Tensor) and value.is_meta
    return _zeros(value, largest) if is_meta else value


def _tensors(values: Iterable[Any]) -> list["torch.Tensor"]:
    # A loop: it is run for each call of torch.
    from torch import Tensor

    found = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += _tensors(value)
        elif isinstance(value, Mapping):
            found += _tensors(value.values())
    return found


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """The same value with its tensors and devices replaced."""
    if isinstance(value, list | tuple):
        items = [_mapped(item, change) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, Mapping):
        return {key: _mapped(item, change) for key, item in value.items()}
    return change(value)
