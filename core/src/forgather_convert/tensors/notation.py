"""How operations are written as the values of a mapping's dictionary.

A value is a name, an operation, or a list of operations that follow each other; the last of a
list names the Forgather tensors.
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

#: The functions below, which are the notation.
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
        names: The Forgather names; none where another operation follows.
        operation: What is done.
    """

    names: tuple[str, ...]
    operation: Operation


MappingValue: TypeAlias = str | Step | Sequence[Step]
#: What a converter gives: Hugging Face names, or tuples of them, to Forgather names. (``Mapping``
#: is invariant in its keys, so that each kind of key is listed.)
WeightMappingDict: TypeAlias = (
    Mapping[str, MappingValue]
    | Mapping[tuple[str, ...], MappingValue]
    | Mapping[str | tuple[str, ...], MappingValue]
)


def split(*names: str, dim: int = 0) -> Step:
    """One Hugging Face tensor becomes several Forgather tensors; the model tells their sizes.

    Example::

        {"h.{layer}.qkv.weight": split("l.{layer}.q", "l.{layer}.k", "l.{layer}.v")}
    """
    return Step(names, Split(dim))


def concatenate(name: str | None = None, dim: int = 0) -> Step:
    """Several Hugging Face tensors, named by a tuple as the key, become one Forgather tensor.

    Example::

        {("h.{layer}.gate.weight", "h.{layer}.up.weight"): concatenate("l.{layer}.gate_up")}
    """
    return Step(_names(name), Join(dim))


def stack(name: str | None = None, *, over: str) -> Step:
    """A numbered series of Hugging Face tensors becomes one, with a new first dimension.

    Example::

        {"h.{layer}.experts.{expert}.up.weight": stack("l.{layer}.experts.up", over="expert")}
    """
    return Step(_names(name), Stack(over))


def unstack(name: str | None = None, *, over: str) -> Step:
    """One Hugging Face tensor becomes a numbered series, without its first dimension.

    Example::

        {"h.{layer}.experts.up": unstack("l.{layer}.experts.{expert}.up.weight", over="expert")}
    """
    return Step(_names(name), Unstack(over))


def transpose(name: str | None = None, dim0: int = 0, dim1: int = 1) -> Step:
    """The Forgather tensor has two dimensions exchanged.

    Example::

        {"h.{layer}.c_fc.weight": transpose("l.{layer}.up_proj.weight")}
    """
    return Step(_names(name), Transpose(dim0, dim1))


def permute_heads(name: str | None = None, heads: str = "num_attention_heads") -> Step:
    """The Forgather tensor has each head's rows in interleaved pairs, not in halves.

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
    """The Hugging Face tensor's rows alternate between parts, group by group.

    Args:
        name: The Forgather name.
        parts: How many parts there are.
        groups: The config field with the number of groups.

    Example::

        {"h.{layer}.qkv.weight": [deinterleave(parts=3), split("l.{layer}.q", "l.{layer}.k",
                                                               "l.{layer}.v")]}
    """
    return Step(_names(name), Deinterleave(parts, groups))


def _names(name: str | None) -> tuple[str, ...]:
    return () if name is None else (name,)
