"""Runs a model whose parameters stay in their files.

When an operation uses a parameter, it is copied into memory, in the dtype and on the device of the
run, and the copy is dropped when the operation is done. This serves two purposes:

- **Memory is bounded**, whatever the model's size and the run's dtype. Matrices are applied in
  chunks of rows, and only those rows of an embedding that are looked up are read. Parameters that
  transformers combines from several stored ones, such as the experts of a layer, are made when a
  module uses them and dropped when the next module uses its own.
- **The last bits are comparable.** They depend on more than the operands: matrix libraries
  choose their code by shape, by the number of threads and by where the memory lies. Measured
  (torch 2.13, x86): a float32 product of *one* row with a matrix that begins at an address that
  is not a multiple of 16 has other last bits than with the same matrix at a multiple of 16;
  more rows, and 16-bit types, do not care. A mapped file puts a tensor wherever its header ends.
  torch's allocator gives addresses that are multiples of 64, so a copy removes the difference.

The rule: *equal operands, equal shapes, equal alignment and an equal number of threads give equal
bits.* Both models of a check run here, in one process, so that whatever difference remains is a
difference of the models.

How it works: torch passes every call of its functions to the active ``TorchFunctionMode``. The
mode below replaces arguments that are parameters of the model. The model itself is not changed,
so it does not matter which module uses a parameter, how often, or what it raises.
"""

import contextlib
import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from forgather_convert.logit_check.shared_products import shared_linear
from forgather_convert.models.merged_parameters import materializer

#: The size of a chunk of a matrix's rows in memory, in bytes. The matrix library may make another
#: copy.
_CHUNK = 4 * 2**20

#: Properties that a parameter shares with its copy, so that no copy is needed.
_SAME_FOR_COPY = frozenset(
    {
        torch.Tensor.shape.__get__,  # type: ignore[attr-defined]
        torch.Tensor.ndim.__get__,  # type: ignore[attr-defined]
        torch.Tensor.requires_grad.__get__,  # type: ignore[attr-defined]
        torch.Tensor.size,
        torch.Tensor.dim,
        torch.Tensor.numel,
        torch.Tensor.is_floating_point,
    }
)
_DTYPE = torch.Tensor.dtype.__get__  # type: ignore[attr-defined]
_DEVICE = torch.Tensor.device.__get__


@dataclass(frozen=True)
class LogitSelection:
    """Which logits the head computes.

    The selection applies to the head, not to its output: the last bits of a product depend on its
    shape, so both models of a comparison must apply the same rows to the same positions.

    Attributes:
        tokens: The ids whose logits are computed, in order; ``None`` for all.
        positions: For how many of the last positions; ``None`` for all.
    """

    tokens: Sequence[int] | None = None
    positions: int | None = None


def stored_bytes(model: Any) -> int:
    """The size of a model's parameters as they are stored; a tied one counts once."""
    unique = {id(parameter): parameter for parameter in model.parameters()}
    return sum(parameter.nbytes for parameter in unique.values())


@contextlib.contextmanager
def streamed(
    model: Any,
    dtype: torch.dtype,
    device: str,
    selection: LogitSelection | None = None,
    progress: Callable[[int], None] = lambda count: None,
) -> Iterator[None]:
    """Runs a model from the files that its parameters are mapped from.

    Within the context, the model computes bit for bit what it would compute if it had been loaded
    in ``dtype`` and moved to ``device``. Its inputs must be on ``device``.

    Args:
        model: A causal LM of transformers, on the CPU, with parameters in the dtypes that they are
            stored in. It is restored when the context ends.
        dtype: The dtype to run in.
        device: The device to run on.
        selection: Which logits to compute; all if ``None``. It has no effect on a model that does
            not compute its logits as the product with its output embeddings.
        progress: Called with the stored size of each parameter when it is first used, and at the
            end for the unused ones; they add up to :func:`stored_bytes`.
    """
    with (
        streaming(model, dtype, device, progress) as parameters,
        StreamingMode(parameters, selection or LogitSelection()),
    ):
        yield


@contextlib.contextmanager
def streaming(
    model: Any, dtype: torch.dtype, device: str, progress: Callable[[int], None]
) -> Iterator["StreamedParameters"]:
    """Does what :func:`streamed` does to a model, for interleaved runs, each in its own mode.

    Args:
        model: The model; see :func:`streamed`.
        dtype: The dtype to run in.
        device: The device to run on.
        progress: Called with the stored size of each parameter when a run first uses it.
    """
    target = torch.device(device)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_config_dtype(model, dtype))
        dtypes, buffers = _as_if_loaded_in(model, dtype)
        placed = {name: buffer.to(target) for name, buffer in buffers.items()}
        stack.enter_context(_buffers(model, placed))
        parameters = StreamedParameters(
            {
                id(parameter): Parameter(
                    parameter.detach(), dtypes[name], target, name, materializer(parameter)
                )
                for name, parameter in model.named_parameters(remove_duplicate=False)
            },
            getattr(model.get_output_embeddings(), "weight", None),
            progress,
        )
        yield parameters
        parameters.finish()


def take_into_memory(model: Any, dtype: torch.dtype, device: str) -> Any:
    """Turns a model into what it would be if it had been loaded in a dtype and moved to a device.

    For runs that use every parameter many times: combined parameters are made only once.

    Args:
        model: A causal LM of transformers, on the CPU, with parameters in the dtypes that they are
            stored in. It is changed.
        dtype: The dtype to run in.
        device: The device to run on.
    """
    dtypes, buffers = _as_if_loaded_in(model, dtype)
    for name, parameter in model.named_parameters():
        make = materializer(parameter)
        parameter.data = (parameter.data if make is None else make()).to(dtypes[name])
    _set_buffers(model, buffers)
    for config in _configs(model.config):
        config.dtype = dtype
    return model.to(device)


@dataclass(frozen=True)
class Parameter:
    """A stored parameter, and what it becomes in the run.

    Attributes:
        stored: Its value in its file; for a combined parameter, only the shape is right.
        dtype: Its dtype in the run.
        device: Its device in the run.
        name: Its name in the model.
        make: Makes the value of a combined parameter; ``None`` for a stored one.
    """

    stored: torch.Tensor
    dtype: torch.dtype
    device: torch.device
    name: str
    make: Callable[[], torch.Tensor] | None

    @property
    def module(self) -> str:
        return self.name.rpartition(".")[0]

    def copied(self, source: torch.Tensor) -> torch.Tensor:
        """A copy of the parameter's value, or of a part of it, for the run."""
        with torch.no_grad():
            return torch.empty(source.shape, dtype=self.dtype, device=self.device).copy_(source)


class Values:
    """The values of parameters; combined and stacked ones are kept while their module is used.

    All runs use the experts of a layer before one uses those of the next.
    """

    def __init__(self) -> None:
        self._module: str | None = None
        self._kept: dict[str, torch.Tensor] = {}

    def of(self, parameter: Parameter) -> torch.Tensor:
        """The value as it is stored or combined; of the parameter's dtype if it was kept."""
        if parameter.make is None and not self._is_kept(parameter):
            return parameter.stored
        return self._keep(parameter)

    def copy_of(self, parameter: Parameter) -> torch.Tensor:
        """The value for the run, in memory of its own, which nothing may change."""
        if parameter.make is not None or parameter.stored.dim() > 2:
            return self._keep(parameter)
        return parameter.copied(parameter.stored)

    def _is_kept(self, parameter: Parameter) -> bool:
        return parameter.module == self._module and parameter.name in self._kept

    def _keep(self, parameter: Parameter) -> torch.Tensor:
        if parameter.module != self._module:
            self._kept.clear()
            self._module = parameter.module
        if parameter.name not in self._kept:
            self._kept[parameter.name] = self._made(parameter)
        return self._kept[parameter.name]

    @staticmethod
    def _made(parameter: Parameter) -> torch.Tensor:
        if parameter.make is None:
            return parameter.copied(parameter.stored)
        with torch.no_grad():
            made = parameter.make()
        is_ready = (made.dtype, made.device) == (parameter.dtype, parameter.device)
        return made if is_ready else parameter.copied(made)


class StreamedParameters:
    """The parameters of a model that runs from its files.

    Attributes:
        head: The output embeddings.
        values: Their values.
    """

    def __init__(
        self, parameters: dict[int, Parameter], head: Any, progress: Callable[[int], None]
    ) -> None:
        self.head = head
        self.values = Values()
        self._parameters = parameters
        self._unused = {key: parameter.stored.nbytes for key, parameter in parameters.items()}
        self._progress = progress

    def find(self, value: Any) -> Parameter | None:
        """Looks up a parameter that is being used; ``None`` for any other value."""
        parameter = self._parameters.get(id(value))
        if parameter is not None and id(value) in self._unused:
            self._progress(self._unused.pop(id(value)))
        return parameter

    def all(self) -> Iterator[Parameter]:
        """All parameters in the order of the model; tied ones once."""
        yield from self._parameters.values()

    def __contains__(self, value: Any) -> bool:
        return id(value) in self._parameters

    def finish(self) -> None:
        """Counts the parameters that no run used, such as experts that no token was routed to."""
        self._progress(sum(self._unused.values()))
        self._unused.clear()


@dataclass(frozen=True)
class Product:
    """A product with a parameter that a run needs: ``input @ matrix.T + bias``.

    Attributes:
        input: The input, ``[..., size]``.
        matrix: The parameter.
        bias: The bias: a parameter, another tensor, or ``None``.
        rows: The rows of the parameter to apply; ``None`` for all.
        values: The values of parameters.
    """

    input: torch.Tensor
    matrix: Parameter
    bias: Parameter | torch.Tensor | None
    rows: Sequence[int] | None
    values: Values

    @property
    def count(self) -> int:
        """The number of rows that are applied."""
        return self.matrix.stored.shape[0] if self.rows is None else len(self.rows)

    def chunks(self) -> Iterator[Any]:
        """The rows in chunks, one of which is in memory at a time."""
        step = max(1, _CHUNK // (self.matrix.stored[0].numel() * self.matrix.dtype.itemsize))
        for start in range(0, self.count, step):
            stop = min(start + step, self.count)
            yield (
                slice(start, stop) if self.rows is None else torch.as_tensor(self.rows[start:stop])
            )

    def compute(self, input: torch.Tensor | None = None, is_shared: bool = False) -> torch.Tensor:
        """The product.

        Args:
            input: Another input instead of its own.
            is_shared: Whether it is computed once for both models, so that neither the alignment
                of the parameter nor the way of computing matters.
        """
        input = self.input if input is None else input
        result: torch.Tensor | None = None
        position = 0
        linear = shared_linear if is_shared else functional.linear
        for rows in self.chunks():
            matrix = self.rows_of(self.matrix, rows, is_shared)
            bias = None if self.bias is None else self.rows_of(self.bias, rows)
            part = linear(input, matrix, bias)
            if part.shape[-1] == self.count:
                return part
            if result is None:
                # The result must not be allocated among the chunks: it would keep their memory
                # from being reused.
                result = part.new_empty(*part.shape[:-1], self.count)
            result[..., position : position + part.shape[-1]] = part
            position += part.shape[-1]
        assert result is not None
        return result

    def rows_of(
        self, tensor: Parameter | torch.Tensor, rows: Any, is_shared: bool = False
    ) -> torch.Tensor:
        """Rows of the matrix or of the bias, copied unless they are shared."""
        if isinstance(tensor, torch.Tensor):
            return tensor[rows.to(tensor.device) if isinstance(rows, torch.Tensor) else rows]
        stored = self.values.of(tensor)[rows]
        if is_shared and (stored.dtype, stored.device) == (tensor.dtype, tensor.device):
            return stored
        return tensor.copied(stored)


class StreamingMode(TorchFunctionMode):
    """Replaces parameters by their copies in every call of torch.

    Args:
        parameters: The model's parameters.
        selection: Which logits to compute.
        multiply: Returns a product with a parameter; by default, computes it immediately.
    """

    def __init__(
        self,
        parameters: StreamedParameters,
        selection: LogitSelection,
        multiply: Callable[[Product], torch.Tensor] = Product.compute,
    ) -> None:
        super().__init__()
        self._parameters = parameters
        self._selection = selection
        self._multiply = multiply

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        # torch disables the mode while this runs.
        kwargs = kwargs or {}
        if not self._uses_parameter((*args, *kwargs.values())) or func in _SAME_FOR_COPY:
            return func(*args, **kwargs)
        if func is functional.linear:
            return self._linear(*args, **kwargs)
        if func is functional.embedding:
            return self._embedding(*args, **kwargs)
        parameter = self._find(args[0]) if args else None
        if parameter is not None:
            if func == _DTYPE:
                return parameter.dtype
            if func == _DEVICE:
                return parameter.device
            if func is torch.Tensor.__getitem__ and _selects_rows(args[1]):
                # One expert of many.
                index = args[1].cpu() if isinstance(args[1], torch.Tensor) else args[1]
                return parameter.copied(self._parameters.values.of(parameter)[index])
        return func(*self._copied(args), **self._copied(kwargs))

    def _linear(self, input: Any, weight: Any, bias: Any = None) -> Any:
        matrix = self._find(weight)
        if matrix is None or matrix.stored.numel() == 0:
            return functional.linear(*self._copied((input, weight, bias)))
        is_head = weight is self._parameters.head
        if is_head and self._selection.positions is not None:
            input = input[..., -self._selection.positions :, :]
        own_bias = None if bias is None else self._find(bias) or bias
        tokens = self._selection.tokens if is_head else None
        return self._multiply(Product(input, matrix, own_bias, tokens, self._parameters.values))

    def _embedding(self, input: Any, weight: Any, *args: Any, **kwargs: Any) -> Any:
        table = self._find(weight)
        max_norm = args[1] if len(args) > 1 else kwargs.get("max_norm")
        if table is None or max_norm is not None:
            return functional.embedding(*self._copied((input, weight)), *args, **kwargs)
        # A look-up copies values and computes nothing.
        return table.copied(self._parameters.values.of(table)[input.cpu()])

    def _find(self, value: Any) -> Parameter | None:
        return self._parameters.find(value)

    def _uses_parameter(self, values: Any) -> bool:
        return any(
            self._uses_parameter(value)
            if isinstance(value, (list, tuple))
            else value in self._parameters
            for value in values
        )

    def _copied(self, values: Any) -> Any:
        def copied(value: Any) -> Any:
            parameter = self._find(value)
            if parameter is None:
                return value
            return self._parameters.values.copy_of(parameter)

        return tree_map(copied, values)


def _selects_rows(index: Any) -> bool:
    """Whether an index takes elements of the first dimension and nothing else."""
    if isinstance(index, torch.Tensor):
        return index.dtype in (torch.int32, torch.int64)
    return isinstance(index, int) and not isinstance(index, bool)


def _as_if_loaded_in(
    model: Any, dtype: torch.dtype
) -> tuple[dict[str, torch.dtype], dict[str, torch.Tensor]]:
    """The parameters' dtypes and the buffers that the model would have if loaded in ``dtype``.

    transformers builds a model with that as torch's default dtype, and gives every loaded tensor
    the dtype of the one that it replaces, except those that a class keeps in float32. So does
    this: computed buffers (inverse frequencies, scales) have the precision of the run, instead of
    being rounded or widened from that of the stored model.
    """
    twin = _built_without_parameters(model, dtype)
    strict = getattr(model, "_keep_in_fp32_modules_strict", None) or ()
    kept = list(strict) if dtype in (torch.float16, torch.bfloat16) else []
    if dtype == torch.float16:
        kept += getattr(model, "_keep_in_fp32_modules", None) or ()
    is_kept = re.compile("|".join(rf"(^|\.){re.escape(name)}($|\.)" for name in kept) or "$^")

    def dtype_of(name: str, tensor: torch.Tensor) -> torch.dtype:
        return torch.float32 if is_kept.search(name) else tensor.dtype

    dtypes = {
        name: dtype_of(name, parameter)
        for name, parameter in twin.named_parameters(remove_duplicate=False)
    }
    computed = dict(twin.named_buffers(remove_duplicate=False))
    persistent = set(model.state_dict(keep_vars=True))
    buffers = {
        name: buffer.to(dtype_of(name, computed[name])) if name in persistent else computed[name]
        for name, buffer in model.named_buffers(remove_duplicate=False)
    }
    return dtypes, buffers


def _built_without_parameters(model: Any, dtype: torch.dtype) -> Any:
    """A model of the same class and config, with buffers, and with parameters on ``meta``."""
    module_class: Any = torch.nn.Module
    register = module_class.register_parameter

    def register_without_memory(module: torch.nn.Module, name: str, parameter: Any) -> None:
        if parameter is not None:
            parameter = torch.nn.Parameter(parameter.detach().to("meta"), requires_grad=False)
        register(module, name, parameter)

    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    module_class.register_parameter = register_without_memory
    try:
        config = copy.deepcopy(model.config)
        for part in _configs(config):
            part.dtype = dtype
        return type(model)(config).eval()
    finally:
        module_class.register_parameter = register
        torch.set_default_dtype(default)


@contextlib.contextmanager
def _buffers(model: Any, values: Mapping[str, torch.Tensor]) -> Iterator[None]:
    """Temporarily replaces a model's buffers.

    Attributes of the modules that change meanwhile are restored, too: a dynamic rotary embedding
    records the longest sequence and changes its frequencies.
    """
    before = [(module, dict(module.__dict__), dict(module._buffers)) for module in model.modules()]
    try:
        _set_buffers(model, values)
        yield
    finally:
        for module, attributes, buffers in before:
            module.__dict__.clear()
            module.__dict__.update(attributes)
            module._buffers.clear()
            module._buffers.update(buffers)


def _set_buffers(model: Any, values: Mapping[str, torch.Tensor]) -> None:
    modules = dict(model.named_modules())
    for full_name, value in values.items():
        prefix, _, name = full_name.rpartition(".")
        modules[prefix]._buffers[name] = value


@contextlib.contextmanager
def _config_dtype(model: Any, dtype: torch.dtype) -> Iterator[None]:
    """Temporarily changes the dtype in the config, which some models read."""
    before = [(config, config.dtype) for config in _configs(model.config)]
    for config, _ in before:
        config.dtype = dtype
    try:
        yield
    finally:
        for config, own in before:
            config.dtype = own


def _configs(config: Any) -> Iterator[Any]:
    """A config, and those in it of which a composite's parts are built."""
    from transformers import PretrainedConfig

    yield config
    for part in vars(config).values():
        if isinstance(part, PretrainedConfig):
            yield from _configs(part)
