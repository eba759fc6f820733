"""The mapping of feed-forward blocks, and of experts that are separate tensors."""

from typing import Any

from forgather_convert.tensors.notation import MappingValue, concatenate, stack
from forgather_convert.tensors.weight_mapping import FORGATHER_LAYER

_EXPERTS = "feedforward.experts"


def stacked_experts(
    experts: str, gate: str = "gate_proj", up: str = "up_proj", down: str = "down_proj"
) -> dict[Any, MappingValue]:
    """The part of a weight mapping that stacks a layer's experts, as the component needs them.

    Args:
        experts: The Hugging Face name of an expert within the layer, with the placeholder
            ``{expert}``; or, for a complete ``weight_mapping``, its full name, which also has the
            placeholder ``{layer}``.
        gate: The name of an expert's gate projection.
        up: The name of its up projection.
        down: The name of its down projection.

    Example::

        layer_tensors = stacked_experts("mlp.experts.{expert}")
    """
    # Keys may be names or tuples of names, but with that type it would not fit into a literal.
    experts_name = f"{FORGATHER_LAYER}.{_EXPERTS}" if "{layer}" in experts else _EXPERTS
    halves = (f"{experts}.{gate}.weight", f"{experts}.{up}.weight")
    return {
        halves: [concatenate(), stack(f"{experts_name}.gate_up_proj", over="expert")],
        f"{experts}.{down}.weight": stack(f"{experts_name}.down_proj", over="expert"),
    }


def gated_feedforward(block: str, forgather_block: str = "feedforward") -> dict[str, str]:
    """The part of ``layer_weights`` for a gated feed-forward block with the usual names.

    Args:
        block: The Hugging Face name of the block within the layer.
        forgather_block: Its Forgather name.

    Example::

        layer_weights = gated_feedforward("mlp.shared_expert", "feedforward.shared_expert")
    """
    return {
        f"{block}.{name}": f"{forgather_block}.{name}"
        for name in ("gate_proj", "up_proj", "down_proj")
    }
