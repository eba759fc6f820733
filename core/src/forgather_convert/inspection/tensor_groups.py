"""Groups tensors whose names differ only in numbers, such as those of a model's layers."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Protocol

#: Longer numbers are considered part of a name.
_NUMBER = re.compile(r"(?<=\.)(?:0|[1-9]\d{0,8})(?=\.)")


class Tensor(Protocol):
    """A tensor in a file, or a planned one."""

    @property
    def name(self) -> str: ...

    @property
    def dtype(self) -> str: ...

    @property
    def shape(self) -> tuple[int, ...]: ...


@dataclass(frozen=True)
class TensorGroup:
    """Tensors of the same dtype and shape.

    Attributes:
        name: Their combined name, with numbers in braces: ``layers.{0..3,5}.norm.weight``.
        count: How many there are.
        dtype: Their dtype.
        shape: Their shape.
    """

    name: str
    count: int
    dtype: str
    shape: tuple[int, ...]


def group_tensors(tensors: Iterable[Tensor]) -> tuple[TensorGroup, ...]:
    """Groups tensors, in the order of the first of each group."""
    kinds: dict[tuple[str, str, tuple[int, ...]], set[tuple[int, ...]]] = {}
    for ref in tensors:
        pattern = name_pattern(ref.name)
        numbers = tuple(map(int, _NUMBER.findall(ref.name)))
        kinds.setdefault((pattern, ref.dtype, ref.shape), set()).add(numbers)
    return tuple(
        TensorGroup(pattern.format(*map(_braced, group)), _count(group), dtype, shape)
        for (pattern, dtype, shape), numbers in kinds.items()
        for group in _products(numbers)
    )


def name_pattern(name: str) -> str:
    """A name with ``{}`` in place of each number; existing braces are doubled."""
    return "{}".join(_NUMBER.split(name.replace("{", "{{").replace("}", "}}")))


def _products(numbers: Collection[tuple[int, ...]]) -> list[tuple[tuple[int, ...], ...]]:
    """Divides tuples into groups, each of which is a product of sets of numbers."""
    if () in numbers:
        return [()]
    rests: dict[int, set[tuple[int, ...]]] = {}
    for first, *rest in sorted(numbers):
        rests.setdefault(first, set()).add(tuple(rest))
    firsts: dict[frozenset[tuple[int, ...]], list[int]] = {}
    for first, rest_of_it in rests.items():
        firsts.setdefault(frozenset(rest_of_it), []).append(first)
    return [
        (tuple(group), *product)
        for rest_of_them, group in firsts.items()
        for product in _products(rest_of_them)
    ]


def _count(group: Iterable[tuple[int, ...]]) -> int:
    count = 1
    for numbers in group:
        count *= len(numbers)
    return count


def _braced(numbers: tuple[int, ...]) -> str:
    """``{0..3,5}``; a single number without braces."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    text = ",".join(str(low) if low == high else f"{low}..{high}" for low, high in spans)
    return text if len(numbers) == 1 else "{" + text + "}"
