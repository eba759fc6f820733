"""The mapping of experts that are separate tensors in a checkpoint."""

from typing import Any

from forgather_convert.tensors.notation import MappingValue, concatenate, stack

_EXPERTS = "causal_lm.layer_stack.layers.{layer}.feedforward.experts"


def stacked_experts(
    experts: str, gate: str = "gate_proj", up: str = "up_proj", down: str = "down_proj"
) -> dict[Any, MappingValue]:
    """The part of a weight mapping that stacks a layer's experts, as the component needs them.

    Args:
        experts: The Hugging Face name of an expert, with the placeholders ``{layer}`` and
            ``{expert}``.
        gate: The name of an expert's gate projection.
        up: The name of its up projection.
        down: The name of its down projection.

    Example::

        {**STANDARD_WEIGHT_MAPPING, **stacked_experts("model.layers.{layer}.mlp.experts.{expert}")}
    """
    # Keys may be names or tuples of names, but with that type it would not fit into a literal.
    halves = (f"{experts}.{gate}.weight", f"{experts}.{up}.weight")
    return {
        halves: [concatenate(), stack(f"{_EXPERTS}.gate_up_proj", over="expert")],
        f"{experts}.{down}.weight": stack(f"{_EXPERTS}.down_proj", over="expert"),
    }
