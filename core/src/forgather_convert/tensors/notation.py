"""The notation for operations in a mapping's dictionary.

A value is a name, an operation, or a list of consecutive operations, the last of which names the
Forgather tensors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from forgather_convert.tensors.operations import (
    Deinterleave,
    Join,
    Operation,
    PermuteHeads,
    Split,
    Stack,
    Transpose,
    Unstack,
)

#: The functions that make up the notation.
OPERATIONS = (
    "split",
    "concatenate",
    "stack",
    "unstack",
    "transpose",
    "permute_heads",
    "deinterleave",
)


@dataclass(frozen=True)
class Step:
    """An operation in a mapping's dictionary.

    Attributes:
        names: The Forgather names; empty if another operation follows.
        operation: The operation.
    """

    names: tuple[str, ...]
    operation: Operation


MappingValue: TypeAlias = str | Step | Sequence[Step]
#: A converter's mapping: Hugging Face names, or tuples of them, to Forgather names. (``Mapping``
#: is invariant in its keys, so each kind of key is listed.)
WeightMappingDict: TypeAlias = (
    Mapping[str, MappingValue]
    | Mapping[tuple[str, ...], MappingValue]
    | Mapping[str | tuple[str, ...], MappingValue]
)


def split(*names: str, dim: int = 0) -> Step:
    """Splits one Hugging Face tensor into several Forgather tensors of the model's sizes.

    Example::

        {"h.{layer}.qkv.weight": split("l.{layer}.q", "l.{layer}.k", "l.{layer}.v")}
    """
    return Step(names, Split(dim))


def concatenate(name: str | None = None, dim: int = 0) -> Step:
    """Concatenates several Hugging Face tensors, named by a tuple, into one Forgather tensor.

    Example::

        {("h.{layer}.gate.weight", "h.{layer}.up.weight"): concatenate("l.{layer}.gate_up")}
    """
    return Step(_names(name), Join(dim))


def stack(name: str | None = None, *, over: str) -> Step:
    """Stacks a numbered series of Hugging Face tensors in a new first dimension.

    Example::

        {"h.{layer}.experts.{expert}.up.weight": stack("l.{layer}.experts.up", over="expert")}
    """
    return Step(_names(name), Stack(over))


def unstack(name: str | None = None, *, over: str) -> Step:
    """Splits one Hugging Face tensor along its first dimension into a numbered series.

    Example::

        {"h.{layer}.experts.up": unstack("l.{layer}.experts.{expert}.up.weight", over="expert")}
    """
    return Step(_names(name), Unstack(over))


def transpose(name: str | None = None, dim0: int = 0, dim1: int = 1) -> Step:
    """Exchanges two dimensions.

    Example::

        {"h.{layer}.c_fc.weight": transpose("l.{layer}.up_proj.weight")}
    """
    return Step(_names(name), Transpose(dim0, dim1))


def permute_heads(name: str | None = None, heads: str = "num_attention_heads") -> Step:
    """Reorders each head's rows from halves into interleaved pairs.

    Args:
        name: The Forgather name.
        heads: The config field with the number of heads.

    Example::

        {"h.{layer}.q.weight": permute_heads("l.{layer}.q.weight", "num_attention_heads")}
    """
    return Step(_names(name), PermuteHeads(heads))


def deinterleave(
    name: str | None = None, *, parts: int = 3, groups: str = "num_attention_heads"
) -> Step:
    """Separates parts whose rows alternate, group by group, in the Hugging Face tensor.

    Args:
        name: The Forgather name.
        parts: The number of parts.
        groups: The config field with the number of groups.

    Example::

        {"h.{layer}.qkv.weight": [deinterleave(parts=3), split("l.{layer}.q", "l.{layer}.k",
                                                               "l.{layer}.v")]}
    """
    return Step(_names(name), Deinterleave(parts, groups))


def _names(name: str | None) -> tuple[str, ...]:
    return () if name is None else (name,)
