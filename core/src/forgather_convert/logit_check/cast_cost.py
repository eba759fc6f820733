"""What a cast does to a model's output.

Casting the weights to another type changes the logits, and a wrong conversion does so, too. To
tell them apart, the result is measured against the source as it is stored, and beside it the
source itself with its weights cast: that much is the cast's.

The divergence is that of Kullback and Leibler, of the next token's distribution, in nats:
``sum_t p(t) (log p(t) - log q(t))`` over the vocabulary, with ``p`` of the source as it is stored.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class LogitStatistics:
    """How far the logits of one model are from those of another.

    Attributes:
        num_positions: How many positions were compared: those whose logits are numbers.
        max_difference: The largest absolute difference of two logits.
        mean_difference: The mean absolute difference.
        mean_divergence: The divergence of the two distributions, the mean over all positions.
        max_divergence: The same at the position where it is largest.
        num_same_choice: At how many positions both have the same most likely token.
        difference_counts: How many logits differ by how much: for each power of two that
            occurs, how many absolute differences are below it and not below its half. The first
            is 0.0, for those that do not differ.
    """

    num_positions: int
    max_difference: float
    mean_difference: float
    mean_divergence: float
    max_divergence: float
    num_same_choice: int
    difference_counts: tuple[tuple[float, int], ...]

    def __str__(self) -> str:
        return (
            f"largest difference {self.max_difference:.3g}, mean {self.mean_difference:.3g}; KL "
            f"divergence per token {self.mean_divergence:.3g} in the mean, "
            f"{self.max_divergence:.3g} at worst; the same most likely token at "
            f"{self.num_same_choice} of {self.num_positions} positions"
        )


@dataclass(frozen=True)
class CastCost:
    """The result, and a plain cast of the source, against the source as it is stored.

    Attributes:
        stored_dtype: The type that the source is run in.
        dtype: The type that it is cast to.
        result: How far the result is from it.
        plain_cast: How far the source itself is from it, once its weights are cast.
        layers: The number of each layer, and the relative difference of its output once the
            weights are cast; see ``relative_differences``.
    """

    stored_dtype: str
    dtype: str
    result: LogitStatistics
    plain_cast: LogitStatistics
    layers: tuple[tuple[int, float], ...]


def logit_statistics(
    reference: Iterable[torch.Tensor], logits: Iterable[torch.Tensor]
) -> LogitStatistics | None:
    """Measures the logits of runs, ``[1, positions, tokens]``, on the CPU.

    Returns:
        The statistics over all positions; ``None`` if there is none whose logits are numbers.
    """
    differences, divergences, num_same_choice = _Mean(), _Mean(), 0
    sizes = _Sizes()
    for expected, actual in zip(reference, logits, strict=True):
        if expected.shape != actual.shape:
            return None
        # Position by position: in float64, all of them could be gigabytes.
        for position in range(expected.shape[1]):
            one, other = expected[0, position].double(), actual[0, position].double()
            if not (_is_distribution(one) and _is_distribution(other)):
                continue
            finite = one.isfinite() & other.isfinite()
            distance = (one - other)[finite].abs()
            sizes.add(distance)
            differences.add(distance.sum().item(), distance.numel(), distance.max().item())
            divergence = _divergence(one, other)
            divergences.add(divergence, 1, divergence)
            num_same_choice += int(one.argmax() == other.argmax())
    if not divergences.count:
        return None
    return LogitStatistics(
        num_positions=divergences.count,
        max_difference=differences.largest,
        mean_difference=differences.value,
        mean_divergence=divergences.value,
        max_divergence=divergences.largest,
        num_same_choice=num_same_choice,
        difference_counts=sizes.counts(),
    )


class _Mean:
    """A mean and a maximum, of values that come one after the other."""

    def __init__(self) -> None:
        self.count = 0
        self.largest = 0.0
        self._sum = 0.0

    @property
    def value(self) -> float:
        return self._sum / self.count

    def add(self, total: float, count: int, largest: float) -> None:
        self._sum += total
        self.count += count
        self.largest = max(self.largest, largest)


class _Sizes:
    """Counts numbers by their exponents."""

    #: What makes the least exponent of a float64 an index.
    _OFFSET = 1074

    def __init__(self) -> None:
        self._num_zero = 0
        self._counts = torch.zeros(self._OFFSET + 1025, dtype=torch.int64)

    def add(self, values: torch.Tensor) -> None:
        """Counts numbers that are finite and not negative."""
        self._num_zero += int((values == 0).sum())
        values = values[values > 0]
        exponents = torch.frexp(values).exponent.long() + self._OFFSET
        self._counts += torch.bincount(exponents, minlength=len(self._counts))

    def counts(self) -> tuple[tuple[float, int], ...]:
        indices = self._counts.nonzero()[:, 0].tolist()
        found = [(2.0 ** (index - self._OFFSET), int(self._counts[index])) for index in indices]
        return ((0.0, self._num_zero), *found)


def _is_distribution(logits: torch.Tensor) -> bool:
    """Whether logits stand for probabilities; a token may have none, as ``-inf``."""
    is_excluded = logits == -torch.inf
    return bool((logits.isfinite() | is_excluded).all()) and not bool(is_excluded.all())


def _divergence(one: torch.Tensor, other: torch.Tensor) -> float:
    log_p, log_q = one.log_softmax(-1), other.log_softmax(-1)
    is_possible = log_p != -torch.inf
    terms = log_p[is_possible].exp() * (log_p - log_q)[is_possible]
    # Rounding can make the sum of a difference of nothing negative.
    return max(0.0, float(terms.sum()))
