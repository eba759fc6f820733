"""Compares logits.

Equal means ``torch.equal``: every value is the same number (0.0 equals -0.0). Infinities are
ordinary values: a model may give -inf to tokens that it never generates. NaN cannot be compared,
nor can a position without any finite logit, since any two models that overflow would agree there.
Such logits are counted as undefined; the caller decides whether they are acceptable.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from forgather_convert.tensors.evaluation import PIECE_BYTES, Evaluator
from forgather_convert.tensors.expressions import Expression


@dataclass(frozen=True)
class Difference:
    """The comparison of two models' logits.

    Attributes:
        are_equal: Whether all of them are equal, and undefined ones at the same positions.
        largest: The largest absolute difference, infinite if only one of two logits is finite.
        num_positions: How many positions were compared.
        num_undefined: How many logits are undefined in both models.
        num_logits: How many logits each model computed.
    """

    are_equal: bool
    largest: float
    num_positions: int
    num_undefined: int
    num_logits: int

    def __add__(self, other: "Difference") -> "Difference":
        """The comparison of the logits of both."""
        return Difference(
            self.are_equal and other.are_equal,
            max(self.largest, other.largest),
            self.num_positions + other.num_positions,
            self.num_undefined + other.num_undefined,
            self.num_logits + other.num_logits,
        )


def compare(expected: torch.Tensor, actual: torch.Tensor) -> Difference:
    """Compares logits of two models, ``[batch, positions, tokens]``, on the CPU."""
    num_positions = expected.shape[1]
    if expected.shape != actual.shape or expected.dtype != actual.dtype:
        return Difference(False, float("inf"), num_positions, 0, expected.numel())
    are_equal, largest, num_undefined = True, 0.0, 0
    # One position at a time: all of them could be gigabytes in float64.
    for position in range(num_positions):
        one, other = expected[:, position], actual[:, position]
        if torch.equal(one, other) and one.isfinite().all():
            continue
        one, other = one.double(), other.double()
        undefined = one.isnan() & other.isnan()
        if not one.isfinite().any() and not other.isfinite().any():
            num_undefined += one.numel()
        else:
            num_undefined += int(undefined.sum())
        if ((one != other) & ~undefined).any():
            are_equal = False
            largest = max(largest, largest_difference(one, other))
    return Difference(are_equal, largest, num_positions, num_undefined, expected.numel())


def largest_difference(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest absolute difference of two tensors, infinite where only one of them is finite.

    NaN in both does not count as a difference.
    """
    one, other = one.double(), other.double()
    differs = (one != other) & ~(one.isnan() & other.isnan())
    distance = (one - other)[differs].abs().nan_to_num(float("inf"), posinf=float("inf"))
    return distance.max().item() if distance.numel() else 0.0


def find_non_finite_weight(tensors: Mapping[str, Expression]) -> str | None:
    """The name of the first tensor that contains NaN or an infinity, or ``None``.

    Reads all weights, piece by piece.
    """
    with Evaluator() as evaluator:
        for name, value in tensors.items():
            if not all(piece.isfinite().all() for piece in evaluator.pieces(value, PIECE_BYTES)):
                return name
    return None
