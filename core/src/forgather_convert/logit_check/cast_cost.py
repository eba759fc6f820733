"""The effect of a cast on a model's logits.

Casting the weights to another type changes the logits, and so does a wrong conversion. To tell
them apart, both the result and the source with its weights cast (the plain cast) are compared with
the uncast source: the difference of the plain cast is the effect of the cast.

The divergence is the Kullback-Leibler divergence of the next token's distribution, in nats:
``sum_t p(t) (log p(t) - log q(t))`` over the vocabulary, where ``p`` is that of the uncast source.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class LogitStatistics:
    """The differences between the logits of two models.

    Attributes:
        num_positions: How many positions were compared: those without NaN.
        max_difference: The largest absolute difference of two logits.
        mean_difference: The mean absolute difference.
        mean_divergence: The divergence of the two distributions, averaged over all positions.
        max_divergence: The largest divergence at any position.
        num_same_choice: At how many positions both have the same most likely token.
        difference_counts: The distribution of the absolute differences: for each power of two that
            occurs, how many are below it but not below its half. The first entry, 0.0, counts the
            logits that do not differ.
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
            f"divergence per token {self.mean_divergence:.3g} nats on average, "
            f"{self.max_divergence:.3g} at most; same most likely token at "
            f"{self.num_same_choice} of {self.num_positions} positions"
        )


@dataclass(frozen=True)
class CastCost:
    """The result and a plain cast of the source, both compared with the uncast source.

    Attributes:
        stored_dtype: The dtype of the uncast source.
        dtype: The dtype that it is cast to.
        result: The differences of the result from the uncast source.
        plain_cast: The differences of the cast source from the uncast source.
        layers: The number of each layer, and the relative difference of its output caused by the
            cast; see ``relative_differences``.
    """

    stored_dtype: str
    dtype: str
    result: LogitStatistics
    plain_cast: LogitStatistics
    layers: tuple[tuple[int, float], ...]


def logit_statistics(
    reference: Iterable[torch.Tensor], logits: Iterable[torch.Tensor]
) -> LogitStatistics | None:
    """Compares the logits of runs, ``[1, positions, tokens]``, on the CPU.

    Returns:
        The statistics over all positions; ``None`` if there is NaN at each of them.
    """
    differences, divergences, num_same_choice = _Mean(), _Mean(), 0
    sizes = _Sizes()
    for expected, actual in zip(reference, logits, strict=True):
        if expected.shape != actual.shape:
            return None
        # One position at a time: all of them could be gigabytes in float64.
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
    """A running mean and maximum."""

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

    #: Added to the exponent of a float64 to make it an index.
    _OFFSET = 1074

    def __init__(self) -> None:
        self._num_zero = 0
        self._counts = torch.zeros(self._OFFSET + 1025, dtype=torch.int64)

    def add(self, values: torch.Tensor) -> None:
        """Counts finite, non-negative numbers."""
        self._num_zero += int((values == 0).sum())
        values = values[values > 0]
        exponents = torch.frexp(values).exponent.long() + self._OFFSET
        self._counts += torch.bincount(exponents, minlength=len(self._counts))

    def counts(self) -> tuple[tuple[float, int], ...]:
        indices = self._counts.nonzero()[:, 0].tolist()
        counts = [(2.0 ** (index - self._OFFSET), int(self._counts[index])) for index in indices]
        return ((0.0, self._num_zero), *counts)


def _is_distribution(logits: torch.Tensor) -> bool:
    """Whether logits define probabilities; ``-inf`` stands for a probability of 0."""
    is_excluded = logits == -torch.inf
    return bool((logits.isfinite() | is_excluded).all()) and not bool(is_excluded.all())


def _divergence(one: torch.Tensor, other: torch.Tensor) -> float:
    log_p, log_q = one.log_softmax(-1), other.log_softmax(-1)
    is_possible = log_p != -torch.inf
    terms = log_p[is_possible].exp() * (log_p - log_q)[is_possible]
    # Rounding can make the divergence of equal distributions negative.
    return max(0.0, float(terms.sum()))
