"""Plans the weights files of a target: their content and order."""

from dataclasses import dataclass

from forgather_convert.planning.layout import (
    Layout,
    carried_layout,
    mirror_layout,
    mirrors_source,
    packed_layout,
)
from forgather_convert.planning.original_layout import original_layout
from forgather_convert.planning.plan import ShardPlan
from forgather_convert.planning.request import PlanRequest
from forgather_convert.planning.weights_content import WeightsContent, tensor_plans


@dataclass(frozen=True)
class WeightsPlan:
    """The weights files of a target.

    Attributes:
        content: Their content.
        layout: The model's weights, and in a Hugging Face model all other tensors as well.
        apart: Separate files for the tensors that a Forgather model does not use.
        is_packed: Whether the order of the tensors determines the file of each.
    """

    content: WeightsContent
    layout: Layout
    apart: tuple[ShardPlan, ...] = ()
    is_packed: bool = False

    @property
    def shards(self) -> tuple[ShardPlan, ...]:
        """All files."""
        return (*self.layout.shards, *self.apart)


def plan_weights(request: PlanRequest, content: WeightsContent) -> WeightsPlan:
    """Divides tensors into files: like the original, like the source, or in a new way."""
    if content.original is not None:
        layout = original_layout(content, content.original)
        if layout is not None:
            return WeightsPlan(content, layout)
    tensors, unused = tensor_plans(content.tensors), tensor_plans(content.unused)
    apart = carried_layout(unused) if content.is_forgather else ()
    tensors += () if content.is_forgather else unused
    second_names = content.tied if content.is_forgather else {}
    checkpoint, options = request.checkpoint, request.options
    if options.max_shard_size is None and mirrors_source(
        tensors, checkpoint, options.weights_format
    ):
        return WeightsPlan(content, mirror_layout(tensors, checkpoint, second_names), apart)
    layout = packed_layout(
        tensors,
        options.weights_format,
        options.max_shard_size,
        second_names,
        has_index=content.is_forgather,
    )
    return WeightsPlan(content, layout, apart, is_packed=True)
