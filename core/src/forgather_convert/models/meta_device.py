"""Builds models on the meta device, where parameters have shapes and no values."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

#: The names of what models draw their initial values with: methods of tensors, and functions that
#: take the tensor first. transformers replaces the functions while it uses them.
_RANDOM = frozenset(
    {
        "kaiming_uniform_",
        "normal_",
        "trunc_normal_",
        "uniform_",
        "xavier_normal_",
        "xavier_uniform_",
    }
)


@contextmanager
def on_meta_device() -> Iterator[None]:
    """Builds models without memory for their parameters, and without initial values."""
    with torch.device("meta"), WithoutRandomValues():
        yield


class WithoutRandomValues(TorchFunctionMode):
    """Draws no random values for tensors on the meta device, which cannot hold them.

    torch works out each such call in Python, which takes longer than building the model.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in _RANDOM:
            tensor = args[0] if args else kwargs["tensor"]
            if tensor.is_meta:
                return tensor
        return func(*args, **kwargs)
