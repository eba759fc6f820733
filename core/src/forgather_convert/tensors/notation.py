"""How operations are written as the values of a mapping's dictionary."""

from dataclasses import dataclass

from forgather_convert.tensors.operations import (
    Concatenate,
    PermuteHeads,
    Split,
    Stack,
    TensorOperation,
    Transpose,
    Unstack,
)

#: The functions below, which are the notation.
OPERATIONS = ("split", "concatenate", "stack", "unstack", "transpose", "permute_heads")


@dataclass(frozen=True)
class Mapped:
    """The value for a name that is more than renamed.

    Attributes:
        names: The Forgather names.
        operation: How their tensors are made.
    """

    names: tuple[str, ...]
    operation: TensorOperation


def split(*names: str, dim: int = 0) -> Mapped:
    """One Hugging Face tensor is several Forgather tensors, of the sizes that those have.

    Example::

        {"h.{layer}.qkv.weight": split("l.{layer}.q", "l.{layer}.k", "l.{layer}.v")}
    """
    return Mapped(names, Split(dim))


def concatenate(name: str, dim: int = 0) -> Mapped:
    """Several Hugging Face tensors, the tuple that is the key, are one Forgather tensor.

    Example::

        {("h.{layer}.gate.weight", "h.{layer}.up.weight"): concatenate("l.{layer}.gate_up")}
    """
    return Mapped((name,), Concatenate(dim))


def stack(name: str, over: str) -> Mapped:
    """A numbered series of Hugging Face tensors is one, with a new first dimension.

    Example::

        {"h.{layer}.experts.{expert}.up.weight": stack("l.{layer}.experts.up", over="expert")}
    """
    return Mapped((name,), Stack(over))


def unstack(name: str, over: str) -> Mapped:
    """One Hugging Face tensor is a numbered series, without its first dimension.

    Example::

        {"h.{layer}.experts.up": unstack("l.{layer}.experts.{expert}.up.weight", over="expert")}
    """
    return Mapped((name,), Unstack(over))


def transpose(name: str, dim0: int = 0, dim1: int = 1) -> Mapped:
    """The Forgather tensor has two dimensions exchanged.

    Example::

        {"h.{layer}.c_fc.weight": transpose("l.{layer}.up_proj.weight")}
    """
    return Mapped((name,), Transpose(dim0, dim1))


def permute_heads(name: str, heads: str = "num_attention_heads") -> Mapped:
    """The Forgather tensor has each head's rows in interleaved pairs, not in halves.

    Args:
        name: The Forgather name.
        heads: The config field with the number of heads.

    Example::

        {"h.{layer}.q.weight": permute_heads("l.{layer}.q.weight", "num_attention_heads")}
    """
    return Mapped((name,), PermuteHeads(heads))
