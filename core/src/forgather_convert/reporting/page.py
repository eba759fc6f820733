"""The web page of a report: one HTML file that loads nothing and runs nothing.

Everything it shows may come from an untrusted source. The template escapes it for HTML, and
control characters are escaped here.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from forgather_convert.files.plain_text import one_line, printable
from forgather_convert.quantities import describe_seconds, describe_size
from forgather_convert.tensors.tensor_ref import format_shape

_TEMPLATES = Path(__file__).parent / "templates"
#: Longer config values are cut.
_LONGEST_VALUE = 200


def render_page(content: Mapping[str, Any]) -> str:
    """The page for a report's content, which ``report_content`` makes."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_plain,
    )
    environment.filters.update(
        lines=_lines,
        value=_value,
        size=describe_size,
        duration=describe_seconds,
        shape=lambda shape: format_shape(tuple(shape)),
        number="{:,}".format,
        component_bars=component_bars,
        difference_bars=difference_bars,
        layer_columns=layer_columns,
    )
    return environment.get_template("report.html.j2").render(report=content)


def _plain(value: object) -> object:
    # Markup has already been through this.
    return one_line(value) if type(value) is str else value


def _lines(text: str) -> Markup:
    """A text with its line breaks."""
    return escape(printable(text))


def _value(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


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
