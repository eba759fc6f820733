"""Runs a model whose parameters stay in their files.

When an operation uses a parameter, it is copied into memory, in the dtype and on the device of the
run, and the copy is dropped when the operation is done. This serves two purposes:

- **Memory is bounded**, whatever the model's size and the run's dtype. Matrices are applied in
  chunks of rows, also those of experts, which are stacked in one parameter, one expert after the
  other; and only those rows of an embedding that are looked up are read. Other parameters that
  transformers combines from several stored ones are made when a module uses them and dropped when
  the next module uses its own.
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
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from forgather_convert.families.transformers_classes import is_transformers_at_least
from forgather_convert.logit_check.freed_memory import FreedMemory
from forgather_convert.logit_check.shared_products import shared_linear, shared_product_dtype
from forgather_convert.models.merged_parameters import materializer, row_maker
from forgather_convert.models.meta_device import WithoutRandomValues
from forgather_convert.source.config_objects import parts_of

#: The size of a chunk of a matrix's rows in memory, in bytes, also if shared products are computed
#: in float32. The matrix library may make another copy.
_CHUNK = 4 * 2**20
#: Tensors that torch allocates begin at multiples of so many bytes.
_ALIGNMENT = 64

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
#: torch's functions that multiply the tokens of each expert by its matrix, by the installed torch.
_GROUPED_PRODUCTS = tuple(
    getattr(where, name)
    for where, name in ((functional, "grouped_mm"), (torch, "_grouped_mm"))
    if hasattr(where, name)
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
                    parameter.detach(),
                    dtypes[name],
                    target,
                    name,
                    materializer(parameter),
                    row_maker(parameter),
                )
                for name, parameter in model.named_parameters(remove_duplicate=False)
            },
            getattr(model.get_output_embeddings(), "weight", None),
            progress,
            stack.enter_context(FreedMemory()),
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
    for config in parts_of(model.config):
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
        make_rows: Makes rows of one of its matrices; ``None`` if only the whole can be made.
        is_transposed: Whether it is the view of a parameter with the last two dimensions exchanged.
    """

    stored: torch.Tensor
    dtype: torch.dtype
    device: torch.device
    name: str
    make: Callable[[], torch.Tensor] | None
    make_rows: Callable[[int, slice], torch.Tensor] | None = None
    is_transposed: bool = False

    @property
    def is_stack(self) -> bool:
        """Whether it is a stack of matrices, each of which can be read alone."""
        is_readable = self.make is None or self.make_rows is not None
        return self.stored.dim() == 3 and is_readable

    @property
    def module(self) -> str:
        return self.name.rpartition(".")[0]

    def copied(self, source: torch.Tensor) -> torch.Tensor:
        """A copy of the parameter's value, or of a part of it, for the run."""
        with torch.no_grad():
            return torch.empty(source.shape, dtype=self.dtype, device=self.device).copy_(source)

    def ready(self, made: torch.Tensor) -> torch.Tensor:
        """Newly made values for the run, copied only to change dtype or device."""
        is_ready = (made.dtype, made.device) == (self.dtype, self.device)
        return made if is_ready else self.copied(made)

    def matrix_rows(self, index: int, rows: slice) -> torch.Tensor:
        """Rows of a matrix of the stack, in memory of their own."""
        if self.make_rows is None:
            return self.copied(self.stored[index, rows])
        with torch.no_grad():
            return self.ready(self.make_rows(index, rows))

    def row_chunks(self) -> Iterator[slice]:
        """The rows of each matrix of the stack, in chunks."""
        _, count, size = self.stored.shape
        step = max(1, _CHUNK // max(1, size * self.dtype.itemsize))
        for start in range(0, count, step):
            yield slice(start, min(start + step, count))


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
            return parameter.ready(parameter.make())


class StreamedParameters:
    """The parameters of a model that runs from its files.

    Attributes:
        head: The output embeddings.
        values: Their values.
        freed_memory: What was freed since they were used.
    """

    def __init__(
        self,
        parameters: dict[int, Parameter],
        head: Any,
        progress: Callable[[int], None],
        freed_memory: FreedMemory,
    ) -> None:
        self.head = head
        self.values = Values()
        self.freed_memory = freed_memory
        self._parameters = parameters
        #: Transposed views by their parameters, and what they are views of by the views.
        self._views: dict[int, torch.Tensor] = {}
        self._viewed: dict[int, Parameter] = {}
        self._unused = {key: parameter.stored.nbytes for key, parameter in parameters.items()}
        self._progress = progress

    def find(self, value: Any) -> Parameter | None:
        """Looks up a parameter that is being used; ``None`` for any other value."""
        parameter = self._parameters.get(id(value))
        if parameter is not None and id(value) in self._unused:
            self._progress(self._unused.pop(id(value)))
        return parameter or self._viewed.get(id(value))

    def transposed(self, value: torch.Tensor) -> torch.Tensor:
        """A view of a stack with transposed matrices, which stands for what is read in its use.

        It has no memory at all, so that a use that is not replaced is an error.
        """
        if id(value) not in self._views:
            stack = self._parameters[id(value)]
            empty = torch.empty_like(stack.stored, dtype=stack.dtype, device="meta")
            view = self._views[id(value)] = empty.transpose(1, 2)
            self._viewed[id(view)] = replace(stack, is_transposed=True)
        return self._views[id(value)]

    def all(self) -> Iterator[Parameter]:
        """All parameters in the order of the model; tied ones once."""
        yield from self._parameters.values()

    def __contains__(self, value: Any) -> bool:
        return id(value) in self._parameters or id(value) in self._viewed

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
        itemsize = shared_product_dtype(self.matrix.dtype).itemsize
        step = max(1, _CHUNK // (self.matrix.stored[0].numel() * itemsize))
        for start in range(0, self.count, step):
            stop = min(start + step, self.count)
            yield (
                slice(start, stop) if self.rows is None else torch.as_tensor(self.rows[start:stop])
            )

    def compute(self) -> torch.Tensor:
        """The product."""
        result: torch.Tensor | None = None
        for start, part in self._parts(self.input, is_shared=False):
            if part.shape[-1] == self.count:
                return part
            if result is None:
                # The result must not be allocated among the chunks: it would keep their memory
                # from being reused.
                result = part.new_empty(*part.shape[:-1], self.count)
            result[..., start : start + part.shape[-1]] = part
        assert result is not None
        return result

    def compute_together(self, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The products with several inputs instead of its own.

        They are computed once for both models, so that neither the alignment of the parameter nor
        the way of computing matters. They may be parts of one tensor, without common elements.
        """
        rows = [one.reshape(-1, one.shape[-1]) for one in inputs]
        together = torch.cat(rows)
        result = together.new_empty(len(together), self.count)
        for start, part in self._parts(together, is_shared=True):
            result[:, start : start + part.shape[-1]] = part
        parts = result.split_with_sizes([*map(len, rows)])
        return [
            _aligned(part).view(*one.shape[:-1], -1)
            for part, one in zip(parts, inputs, strict=True)
        ]

    def _parts(self, input: torch.Tensor, is_shared: bool) -> Iterator[tuple[int, torch.Tensor]]:
        """The product in chunks of columns, each with the first one's number."""
        linear = shared_linear if is_shared else functional.linear
        start = 0
        for rows in self.chunks():
            matrix = self.rows_of(self.matrix, rows, is_shared)
            bias = None if self.bias is None else self.rows_of(self.bias, rows)
            part = linear(input, matrix, bias)
            yield start, part
            start += part.shape[-1]

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
        if func in _SAME_FOR_COPY or not self._uses_parameter((*args, *kwargs.values())):
            return func(*args, **kwargs)
        self._parameters.freed_memory.give_back()
        if func is functional.linear:
            return self._linear(*args, **kwargs)
        if func is functional.embedding:
            return self._embedding(*args, **kwargs)
        if func in _GROUPED_PRODUCTS and _is_stack(self._find(args[1])):
            return self._grouped_product(func, *args, **kwargs)
        parameter = self._find(args[0]) if args else None
        if parameter is not None:
            if func == _DTYPE:
                return parameter.dtype
            if func == _DEVICE:
                return parameter.device
            if func is torch.Tensor.data_ptr and parameter.is_transposed:
                # Copies begin at multiples of 64, which is all that is asked for.
                return 0
            if func is torch.Tensor.transpose and _exchanges_rows_and_columns(parameter, args[1:]):
                return self._parameters.transposed(args[0])
            if func is torch.Tensor.__getitem__ and _selects_rows(args[1]):
                # One expert of many.
                index = args[1].cpu() if isinstance(args[1], torch.Tensor) else args[1]
                if parameter.is_stack and not parameter.is_transposed and _is_one(index):
                    return parameter.matrix_rows(int(index), slice(0, parameter.stored.shape[1]))
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

    def _grouped_product(
        self, func: Callable[..., Any], input: Any, weight: Any, offs: Any, **options: Any
    ) -> Any:
        """The products of consecutive rows of the input, each group with a matrix of the stack.

        Each is computed alone, as torch does on a CPU, so that one matrix, or some of the rows that
        it is stored in, is in memory at a time.
        """
        stack = self._find(weight)
        assert stack is not None
        output: torch.Tensor | None = None
        start = 0
        columns = stack.stored.shape[1 if stack.is_transposed else 2]
        for index, end in enumerate(offs.tolist()):
            if end == start:
                continue
            group, count = input[start:end], offs.new_tensor([end - start])
            # Before the chunks, for the same reason as in Product.
            if output is None:
                output = input.new_zeros(len(input), columns)
            if stack.is_transposed:
                for rows in stack.row_chunks():
                    matrix = stack.matrix_rows(index, rows).T
                    output[start:end, rows] = func(group, matrix[None], offs=count, **options)
            else:
                matrix = stack.matrix_rows(index, slice(0, stack.stored.shape[1]))
                output[start:end] = func(group, matrix[None], offs=count, **options)
            del matrix
            self._parameters.freed_memory.give_back()
            start = end
        return input.new_zeros(len(input), columns) if output is None else output

    def _find(self, value: Any) -> Parameter | None:
        return self._parameters.find(value)

    def _uses_parameter(self, values: Any) -> bool:
        # A loop: it is run for each call of torch.
        for value in values:
            if value in self._parameters:
                return True
            if isinstance(value, list | tuple) and self._uses_parameter(value):
                return True
        return False

    def _copied(self, values: Any) -> Any:
        def copied(value: Any) -> Any:
            parameter = self._find(value)
            if parameter is None:
                return value
            whole = self._parameters.values.copy_of(parameter)
            return whole.transpose(1, 2) if parameter.is_transposed else whole

        return tree_map(copied, values)


def _aligned(part: torch.Tensor) -> torch.Tensor:
    """The part of a tensor, or a copy unless it begins where torch could have allocated it."""
    return part if part.data_ptr() % _ALIGNMENT == 0 else part.clone()


def _is_stack(parameter: Parameter | None) -> bool:
    return parameter is not None and parameter.is_stack


def _exchanges_rows_and_columns(parameter: Parameter, dims: Sequence[Any]) -> bool:
    """Whether it transposes the matrices of a stack; torch 2.9 and earlier need it as a whole."""
    is_whole = not hasattr(functional, "grouped_mm") or parameter.is_transposed
    return not is_whole and parameter.is_stack and {dim % 3 for dim in dims} == {1, 2}


def _is_one(index: Any) -> bool:
    return not isinstance(index, torch.Tensor) or index.dim() == 0


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
    being rounded or widened from that of the stored model. Version 5 computes them again, with
    the usual default dtype, where a class says how.
    """
    twin = _built_without_parameters(model, dtype)
    if is_transformers_at_least("5"):
        _compute_unsaved_buffers(twin)
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
        for part in parts_of(config):
            part.dtype = dtype
        with WithoutRandomValues():
            return type(model)(config).eval()
    finally:
        module_class.register_parameter = register
        torch.set_default_dtype(default)


def _compute_unsaved_buffers(module: Any, initialize: Callable[[Any], None] | None = None) -> None:
    """Lets models initialize their modules with unsaved buffers: of nested ones, the innermost.

    Args:
        module: A model, or a module in it.
        initialize: How the model around it initializes a module.
    """
    # Only models have it.
    initialize = getattr(module, "_init_weights", initialize)
    for child in module.children():
        _compute_unsaved_buffers(child, initialize)
    if initialize is not None and module._non_persistent_buffers_set:
        with torch.no_grad():
            initialize(module)


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
    before = [(config, config.dtype) for config in parts_of(model.config)]
    for config, _ in before:
        config.dtype = dtype
    try:
        yield
    finally:
        for config, own in before:
            config.dtype = own
