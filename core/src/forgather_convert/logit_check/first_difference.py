"""Finds where two models that should be equal first differ.

Both run on the same input, one after the other, and the outputs of corresponding modules are
compared. A difference counts once it reaches the output of a layer: the modules inside may divide
their work differently and still compute the same.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from forgather_convert.logit_check.alignment import Alignment, align
from forgather_convert.logit_check.trace import ModuleCall, Trace, output_of, trace
from forgather_convert.tensors.weight_mapping import WeightMapping


@dataclass(frozen=True)
class FirstDifference:
    """The first component that computes something different in another model.

    Attributes:
        layer: The number of the layer; ``None`` outside the layers.
        source: The smallest module with equal inputs and different outputs. If there is none, the
            module whose output is the first to differ; ``None`` if all outputs of corresponding
            modules are equal.
        result: The corresponding module of the other model.
        input_is_equal: Whether the inputs of that module are equal in both models.
        first_output: The first module, inside it or itself, whose output differs, in the source
            and in the result.
        largest: The largest absolute difference of these outputs; infinite if only one is finite.
        last_equal: The last module before it with equal outputs; ``None`` if there is none.
    """

    layer: int | None
    source: str | None
    result: str | None
    input_is_equal: bool
    first_output: tuple[str, str] | None
    largest: float
    last_equal: str | None

    def __str__(self) -> str:
        return self.describe("the result")

    def describe(self, result: str) -> str:
        """Describes it in sentences.

        Args:
            result: The name of the other model, such as ``"the result"``.
        """
        if self.source is None:
            after = f" up to {self.last_equal}" if self.last_equal else ""
            return (
                f"The components of both compute the same{after}: the difference arises after "
                "them, where logits are computed from their outputs."
            )

        def pair(one: str, other: str | None) -> str:
            return one if other in (one, None) else f"{one} ({other} in {result})"

        where = "outside the layers" if self.layer is None else f"in layer {self.layer}"
        text = f"The first difference is {where}, in {pair(self.source, self.result)}: "
        text += "its input is equal" if self.input_is_equal else "its input differs, too"
        if self.first_output is None or self.first_output[0] == self.source:
            text += f", its output differs by up to {self.largest:g}."
        else:
            text += (
                f"; the first output inside it that differs, by up to {self.largest:g}, is that of "
                f"{pair(*self.first_output)}."
            )
        if self.last_equal is not None:
            text += f" The last equal output before it is that of {self.last_equal}."
        return text


def find_first_difference(
    source: Any,
    result: Any,
    mapping: WeightMapping | None,
    run: Callable[[Any], object],
) -> FirstDifference:
    """Finds where two models first differ; runs each of them twice.

    Args:
        source: One model.
        result: The other.
        mapping: From the source's tensor names to the result's; ``None`` if they have the same.
        run: Runs a model once, on an input for which they differ.
    """
    traces = trace(source, run), trace(result, run)
    alignment = align(*traces, mapping)
    compared = _compared_calls(*traces, alignment)
    first, region = _first_in(compared, alignment)
    if first is None:
        last = region[-1].source.module if region else None
        return FirstDifference(None, None, None, True, None, 0.0, last)
    origin = _origin(first, region)
    before = [
        pair for pair in compared if pair.source.end < first.source.end and pair.output_is_equal
    ]
    outputs = [
        output_of(model, call.module, call.index, run)
        for model, call in ((source, first.source), (result, first.result))
    ]
    return FirstDifference(
        layer=alignment.layer_of(origin.source.module),
        source=origin.source.module,
        result=origin.result.module,
        input_is_equal=origin.input_is_equal,
        first_output=(first.source.module, first.result.module),
        largest=_largest(*outputs),
        last_equal=before[-1].source.module if before else None,
    )


@dataclass(frozen=True)
class _Compared:
    """Calls of corresponding modules."""

    source: ModuleCall
    result: ModuleCall

    @property
    def input_is_equal(self) -> bool:
        return self.source.input == self.result.input

    @property
    def output_is_equal(self) -> bool:
        return self.source.output == self.result.output


def _compared_calls(source: Trace, result: Trace, alignment: Alignment) -> list[_Compared]:
    """The calls whose outputs can be compared, in the order in which the source's calls end."""
    others = {(call.module, call.index): call for call in result.calls}
    compared = []
    for call in source.calls:
        partner = alignment.modules.get(call.module)
        other = None if partner is None else others.get((partner, call.index))
        if other is None or call.output is None or other.output is None:
            continue
        if call.output.is_comparable_to(other.output):
            compared.append(_Compared(call, other))
    return compared


def _first_in(
    compared: Sequence[_Compared], alignment: Alignment
) -> tuple[_Compared | None, Sequence[_Compared]]:
    """The first differing output that counts, and all calls compared in that region."""
    layers = [pair for pair in compared if pair.source.module in alignment.layers]
    wrong = next((pair for pair in layers if not pair.output_is_equal), None)
    if wrong is None:
        end = layers[-1].source.end if layers else 0
        region = [pair for pair in compared if pair.source.start > end or not layers]
        return _first_different(region), region or layers
    if wrong.input_is_equal:
        region = [pair for pair in compared if pair is wrong or pair.source.is_inside(wrong.source)]
        return _first_different(region), region
    earlier = max(
        (pair.source.end for pair in layers if pair.source.end < wrong.source.end), default=0
    )
    region = [pair for pair in compared if earlier < pair.source.end < wrong.source.start]
    if _first_different(region) is None:
        region = [pair for pair in compared if earlier < pair.source.end <= wrong.source.end]
    return _first_different(region), region


def _first_different(pairs: Iterable[_Compared]) -> _Compared | None:
    return next((pair for pair in pairs if not pair.output_is_equal), None)


def _origin(first: _Compared, region: Sequence[_Compared]) -> _Compared:
    """The smallest module with equal inputs that contains the first differing output."""
    around = [pair for pair in region if pair is first or first.source.is_inside(pair.source)]
    return next((pair for pair in around if pair.input_is_equal), first)


def _largest(one: Any, other: Any) -> float:
    from forgather_convert.logit_check.comparison import largest_difference

    return float("inf") if one is None or other is None else largest_difference(one, other)
