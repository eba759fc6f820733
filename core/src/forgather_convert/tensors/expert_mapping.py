"""The mapping of experts that a checkpoint has apart."""

from typing import Any

from forgather_convert.tensors.notation import MappingValue, concatenate, stack
from forgather_convert.tensors.weight_mapping import FORGATHER_LAYER

_EXPERTS = "feedforward.experts"


def stacked_experts(
    experts: str, gate: str = "gate_proj", up: str = "up_proj", down: str = "down_proj"
) -> dict[Any, MappingValue]:
    """The part of a weight mapping that stacks a layer's experts, as the component has them.

    Args:
        experts: The Hugging Face name of an expert within the layer, with the placeholder
            ``{expert}``; or its whole name, with the placeholder ``{layer}``, too, for a whole
            ``weight_mapping``.
        gate: What an expert's matrix of this kind is called, as ``up`` and ``down``.
        up: See ``gate``.
        down: See ``gate``.

    Example::

        layer_tensors = stacked_experts("mlp.experts.{expert}")
    """
    # Names and tuples of names are both keys; typed so, it would fit into no literal with names.
    place = f"{FORGATHER_LAYER}.{_EXPERTS}" if "{layer}" in experts else _EXPERTS
    halves = (f"{experts}.{gate}.weight", f"{experts}.{up}.weight")
    return {
        halves: [concatenate(), stack(f"{place}.gate_up_proj", over="expert")],
        f"{experts}.{down}.weight": stack(f"{place}.down_proj", over="expert"),
    }
