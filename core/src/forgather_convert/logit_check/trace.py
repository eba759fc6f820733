"""Records inputs and outputs of a model's modules in one run, as digests instead of tensors."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from forgather_convert.models.saved_state import saved_state
from forgather_convert.tensors.evaluation import bytes_of


@dataclass(frozen=True)
class Digest:
    """A digest of a tensor; equal digests mean equal values."""

    dtype: str
    shape: tuple[int, ...]
    digest: bytes

    @classmethod
    def of(cls, tensor: torch.Tensor) -> "Digest":
        plain = tensor.detach().cpu()
        if plain.is_floating_point():
            # Like torch.equal: 0.0 equals -0.0. And NaN has many bit patterns.
            plain = torch.where(plain.isnan(), torch.nan, plain + 0.0).to(plain.dtype)
        digest = hashlib.blake2b(bytes_of(plain.contiguous()), digest_size=16).digest()
        return cls(str(tensor.dtype), tuple(tensor.shape), digest)

    def is_comparable_to(self, other: "Digest") -> bool:
        return (self.dtype, self.shape) == (other.dtype, other.shape)


@dataclass(frozen=True)
class ModuleCall:
    """A call of a module.

    Attributes:
        module: The module's name.
        index: How often the module was called before.
        start: When it began, counted in beginnings and ends of calls.
        end: When it ended, counted likewise.
        input: The first tensor among its inputs; ``None`` if there is none.
        output: The first tensor among its outputs; ``None`` if there is none.
    """

    module: str
    index: int
    start: int
    end: int
    input: Digest | None
    output: Digest | None

    def is_inside(self, other: "ModuleCall") -> bool:
        return other.start < self.start and self.end < other.end


@dataclass(frozen=True)
class Trace:
    """A model's names, and what its modules computed.

    Attributes:
        parameters: The names of its parameters in memory, by those in its checkpoints.
        modules: The names of its modules.
        embeddings: The modules of the token embedding and of the head, if it has them.
        calls: The calls of its modules, in the order in which they ended.
    """

    parameters: Mapping[str, str]
    modules: tuple[str, ...]
    embeddings: tuple[str | None, str | None]
    calls: tuple[ModuleCall, ...]


def trace(model: Any, run: Callable[[Any], object]) -> Trace:
    """Runs a model and records the inputs and outputs of each module.

    Args:
        model: The model.
        run: Runs it once.
    """
    names = {module: name for name, module in model.named_modules()}
    calls: list[ModuleCall] = []
    clock = _Clock()
    open_calls: list[tuple[str, int, Digest | None]] = []
    counts: Counter[str] = Counter()

    def begin(module: Any, args: Any, kwargs: Any) -> None:
        open_calls.append((names[module], clock.tick(), _digest((args, kwargs))))

    def end(module: Any, args: Any, output: Any) -> None:
        name, start, given = open_calls.pop()
        calls.append(ModuleCall(name, counts[name], start, clock.tick(), given, _digest(output)))
        counts[name] += 1

    with ExitStack() as stack:
        for module in names:
            begins = module.register_forward_pre_hook(begin, with_kwargs=True)
            stack.callback(begins.remove)
            stack.callback(module.register_forward_hook(end).remove)
        run(model)
    return Trace(
        parameters={stored: name for name, stored in saved_state(model).names.items()},
        modules=tuple(names.values()),
        embeddings=(
            names.get(model.get_input_embeddings()),
            names.get(model.get_output_embeddings()),
        ),
        calls=tuple(calls),
    )


def output_of(
    model: Any, module: str, index: int, run: Callable[[Any], object]
) -> torch.Tensor | None:
    """Runs a model up to a call of a module; returns that call's output, on the CPU.

    Args:
        model: The model.
        module: The module's name.
        index: Which of its calls.
        run: Runs the model once.
    """
    outputs: list[torch.Tensor | None] = []

    def end(module: Any, args: Any, output: Any) -> None:
        tensor = first_tensor(output)
        outputs.append(None if tensor is None else tensor.detach().cpu())
        if len(outputs) > index:
            raise _Reached
        outputs[-1] = None

    with _hook(model.get_submodule(module), end):
        try:
            run(model)
        except _Reached:
            return outputs[-1]
    return None


class _Reached(BaseException):
    """Ends a run whose rest is not needed."""


class _Clock:
    def __init__(self) -> None:
        self._now = 0

    def tick(self) -> int:
        self._now += 1
        return self._now


@contextmanager
def _hook(module: Any, end: Callable[..., None]) -> Iterator[None]:
    handle = module.register_forward_hook(end)
    try:
        yield
    finally:
        handle.remove()


def _digest(value: Any) -> Digest | None:
    tensor = first_tensor(value)
    return None if tensor is None else Digest.of(tensor)


def first_tensor(value: Any) -> torch.Tensor | None:
    """The first tensor among a module's inputs or outputs; ``None`` if there is none."""
    if isinstance(value, torch.Tensor):
        return value
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return None
    return next((tensor for item in value if (tensor := first_tensor(item)) is not None), None)
