"""The mapping of experts that a checkpoint has apart."""

from typing import Any

from forgather_convert.tensors.notation import MappingValue, concatenate, stack

_EXPERTS = "causal_lm.layer_stack.layers.{layer}.feedforward.experts"


def stacked_experts(
    experts: str, gate: str = "gate_proj", up: str = "up_proj", down: str = "down_proj"
) -> dict[Any, MappingValue]:
    """The part of a weight mapping that stacks a layer's experts, as the component has them.

    Args:
        experts: The Hugging Face name of an expert, with the placeholders ``{layer}`` and
            ``{expert}``.
        gate: What an expert's matrix of this kind is called, as ``up`` and ``down``.
        up: See ``gate``.
        down: See ``gate``.

    Example::

        {**STANDARD_WEIGHT_MAPPING, **stacked_experts("model.layers.{layer}.mlp.experts.{expert}")}
    """
    # Names and tuples of names are both keys; typed so, it would fit into no literal with names.
    halves = (f"{experts}.{gate}.weight", f"{experts}.{up}.weight")
    return {
        halves: [concatenate(), stack(f"{_EXPERTS}.gate_up_proj", over="expert")],
        f"{experts}.{down}.weight": stack(f"{_EXPERTS}.down_proj", over="expert"),
    }
