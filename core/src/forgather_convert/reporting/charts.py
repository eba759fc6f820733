"""The plots of a report: numbers as lengths."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """A bar of a plot.

    Attributes:
        label: Its label.
        value: The number it shows.
        length: Its length, in thousandths of the longest bar.
        share: Its share of the total, in percent.
    """

    label: str
    value: int
    length: int
    share: float


def component_bars(components: Mapping[str, Mapping[str, int]]) -> tuple[Bar, ...]:
    """Bars for the number of parameters of each component."""
    return _bars([(name, size["parameters"]) for name, size in components.items()])


def difference_bars(counts: Sequence[tuple[float, int]]) -> tuple[Bar, ...]:
    """Bars for the distribution of logit differences; see ``LogitStatistics.difference_counts``."""
    return _bars([("0" if not size else f"< {size:.2g}", count) for size, count in counts])


@dataclass(frozen=True)
class Column:
    """A column of a plot; its height is in thousandths of the highest."""

    label: int
    value: float
    height: int


def layer_columns(layers: Sequence[tuple[int, float]]) -> tuple[Column, ...]:
    """Columns for the differences of the layers; see ``CastCost.layers``."""
    largest = max((value for _, value in layers), default=0.0) or 1.0
    return tuple(Column(number, value, round(1000 * value / largest)) for number, value in layers)


def _bars(values: Sequence[tuple[str, int]]) -> tuple[Bar, ...]:
    largest = max((value for _, value in values), default=0) or 1
    total = sum(value for _, value in values) or 1
    return tuple(
        Bar(label, value, round(1000 * value / largest), 100 * value / total)
        for label, value in values
    )
