"""Parameters that transformers 5 combines from several tensors of a checkpoint, made on demand.

When transformers loads a mixture of experts, it combines all experts of a layer into one parameter,
and thus copies nearly all weights. But the memory of a check must not grow with the model. So
transformers loads the model from its directory and finds out by itself which tensors become which
parameter, but its computations are recorded instead of executed. What runs later is transformers'
own code.
"""

import contextlib
import copy
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

#: The attributes of a parameter with the functions that make its value, and rows of a matrix of it.
_VALUE = "_forgather_value"
_ROWS = "_forgather_rows"
#: The operations of transformers that stack matrices, one or several for each element.
_STACKING = ([("MergeModulelist", 0)], [("MergeModulelist", 0), ("Concatenate", 1)])

#: Makes rows of a matrix of a parameter that is a stack of them.
RowMaker = Callable[[int, slice], "torch.Tensor"]


@dataclass(frozen=True)
class Merge:
    """How transformers combines tensors into parameters.

    Attributes:
        converter: A ``WeightConverter`` of transformers, without tensors.
        layer_name: The first of the parameters.
        sources: The tensors' names, each with the pattern that it matches, in order.
        context: Model and config, for the converter.
    """

    converter: Any
    layer_name: str
    sources: tuple[tuple[str, str], ...]
    context: Mapping[str, Any]

    def values(self, read: Callable[[str], "torch.Tensor"]) -> Mapping[str, "torch.Tensor"]:
        """The parameters by their names, in newly allocated memory."""
        converter = copy.deepcopy(self.converter)
        for pattern, name in self.sources:
            converter.add_tensor(self.layer_name, name, pattern, read(name))
        return _tensors(converter.convert(self.layer_name, **self.context))

    def is_stack(self, parameter: "torch.Tensor", sizes: Mapping[str, int]) -> bool:
        """Whether a matrix of the parameter is the matrices of one tensor for each pattern.

        Args:
            parameter: A parameter of the right shape.
            sizes: The numbers of rows of the tensors.
        """
        steps = [
            (type(step).__name__, getattr(step, "dim", None)) for step in self.converter.operations
        ]
        if steps not in _STACKING or parameter.dim() != 3:
            return False
        patterns = self._names_by_pattern().values()
        count, size, _ = parameter.shape
        if any(len(names) != count for names in patterns):
            return False
        return all(sum(sizes[name] for name in one) == size for one in zip(*patterns, strict=True))

    def rows(
        self,
        index: int,
        rows: slice,
        sizes: Mapping[str, int],
        read: Callable[[str, slice], "torch.Tensor"],
    ) -> "torch.Tensor":
        """Rows of a matrix, if the parameter is a stack: transformers' own stack of these alone.

        Args:
            index: The place of the matrix in the stack.
            rows: Its rows.
            sizes: The numbers of rows of the tensors.
            read: Reads rows of a tensor.
        """
        converter = copy.deepcopy(self.converter)
        before = 0
        for pattern, names in self._names_by_pattern().items():
            name, after = names[index], before + sizes[names[index]]
            start, stop = (min(max(end, before), after) for end in (rows.start, rows.stop))
            part = read(name, slice(start - before, stop - before))
            converter.add_tensor(self.layer_name, name, pattern, part)
            before = after
        (made,) = _tensors(converter.convert(self.layer_name, **self.context)).values()
        matrix: torch.Tensor = made[0]
        return matrix

    def _names_by_pattern(self) -> Mapping[str, list[str]]:
        """The tensors of each pattern, in the order in which the converter concatenates them."""
        names: dict[str, list[str]] = {each: [] for each in self.converter.source_patterns}
        for pattern, name in self.sources:
            names.setdefault(pattern, []).append(name)
        return names


@dataclass
class _Notes:
    """What is recorded about a converter while it receives its tensors."""

    converter: Any
    unused: Any
    sources: list[tuple[str, str]] = field(default_factory=list)


def can_note_merges() -> bool:
    """Whether the installed transformers combines parameters in a way that can be recorded."""
    return importlib.util.find_spec("transformers.core_model_loading") is not None


@contextlib.contextmanager
def noted_merges() -> Iterator[dict[str, Merge]]:
    """Keeps transformers from combining tensors into parameters.

    Models loaded within the context have parameters of the right shape without memory instead.
    This also affects loading in other threads.

    Yields:
        How to make each of them, by its name in the model; filled while models are loaded.
    """
    merges: dict[str, Merge] = {}
    try:
        from transformers.core_model_loading import WeightConverter
    except ImportError:
        # In transformers 4, parameters are the stored tensors.
        yield merges
        return
    converter_class: Any = WeightConverter
    add_tensor, convert = converter_class.add_tensor, converter_class.convert
    notes: dict[int, _Notes] = {}

    def note_tensor(self: Any, target: str, name: str, pattern: str, value: Any) -> None:
        if id(self) not in notes:
            notes[id(self)] = _Notes(self, copy.deepcopy(self))
        notes[id(self)].sources.append((pattern, name))
        tensor = value.result() if hasattr(value, "result") else value
        tensor = tensor() if callable(tensor) else tensor
        add_tensor(self, target, name, pattern, tensor.to("meta"))

    def note_conversion(self: Any, layer_name: str, **arguments: Any) -> Any:
        noted = notes[id(self)]
        context: dict[str, Any] = {
            name: arguments[name] for name in ("model", "config") if name in arguments
        }
        merge = Merge(noted.unused, layer_name, tuple(noted.sources), context)
        converted = convert(self, layer_name, **arguments)
        made = {name: _without_memory(tensor) for name, tensor in _tensors(converted).items()}
        merges.update(dict.fromkeys(made, merge))
        return (made, *converted[1:]) if isinstance(converted, tuple) else made

    converter_class.add_tensor, converter_class.convert = note_tensor, note_conversion
    try:
        yield merges
    finally:
        converter_class.add_tensor, converter_class.convert = add_tensor, convert


def make_when_needed(
    model: Any,
    merges: Mapping[str, Merge],
    sizes: Mapping[str, int],
    read: Callable[[str], "torch.Tensor"],
    read_rows: Callable[[str, slice], "torch.Tensor"],
) -> None:
    """Enables :func:`materializer` and :func:`row_maker` to make what a loaded model lacks.

    Args:
        model: The model.
        merges: How its parameters are combined, by their names.
        sizes: The first dimensions of the tensors that they are made of.
        read: Reads one of these tensors.
        read_rows: Reads rows of it.
    """
    for name, merge in merges.items():
        parameter = model.get_parameter(name)
        make_value_when_needed(parameter, partial(_value, merge, name, read))
        if merge.is_stack(parameter, sizes):
            make_rows_when_needed(parameter, partial(merge.rows, sizes=sizes, read=read_rows))


def make_rows_when_needed(parameter: Any, make: RowMaker) -> None:
    """Sets the function that makes rows of a matrix of a parameter."""
    setattr(parameter, _ROWS, make)


def make_value_when_needed(parameter: Any, make: "Callable[[], torch.Tensor]") -> None:
    """Sets the function that makes the value of a parameter."""
    setattr(parameter, _VALUE, make)


def materializer(parameter: Any) -> "Callable[[], torch.Tensor] | None":
    """The function that makes the value of a parameter; ``None`` if it has a value."""
    value: Callable[[], torch.Tensor] | None = getattr(parameter, _VALUE, None)
    return value


def row_maker(parameter: Any) -> RowMaker | None:
    """The function that makes rows of a matrix of a parameter; ``None`` if there is none."""
    rows: RowMaker | None = getattr(parameter, _ROWS, None)
    return rows


def _value(merge: Merge, name: str, read: Callable[[str], "torch.Tensor"]) -> "torch.Tensor":
    return merge.values(read)[name]


def _tensors(converted: Any) -> dict[str, Any]:
    """The tensors that a converter made, by their names."""
    # Version 5.0 also returns errors.
    made = converted[0] if isinstance(converted, tuple) else converted
    return {name: part[0] if isinstance(part, list) else part for name, part in made.items()}


def _without_memory(tensor: "torch.Tensor") -> "torch.Tensor":
    """A tensor on the CPU whose elements share the memory of one."""
    import torch

    return torch.zeros((), dtype=tensor.dtype).expand(tensor.shape)
