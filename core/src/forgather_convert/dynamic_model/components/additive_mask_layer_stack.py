"""The stack of layers as older classes of transformers 4 run it."""

from typing import Any

import torch

from .experts_implementation import HAS_STACKED_EXPERTS
from .layer_stack import LayerStack


class AdditiveMaskLayerStack(LayerStack):
    """A layer stack with masks that are added to the scores, as in older classes of transformers 4.

    Newer classes pass boolean masks to PyTorch's attention. Only padding differs: with an additive
    mask, a position that may attend to nothing attends to all positions equally.
    """

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_masks: dict[str, Any],
        *args: Any,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, tuple[Any, ...] | None, tuple[Any, ...] | None]:
        if not HAS_STACKED_EXPERTS:
            attention_masks = {
                kind: as_additive(mask, hidden_states.dtype)
                for kind, mask in attention_masks.items()
            }
        return super().forward(hidden_states, attention_masks, *args, **kwargs)


def as_additive(mask: Any, dtype: torch.dtype) -> Any:
    """Converts a boolean mask: zero for ``True``, the dtype's minimum for ``False``."""
    if not isinstance(mask, torch.Tensor) or mask.dtype != torch.bool:
        return mask
    zero, least = (
        torch.tensor(value, dtype=dtype, device=mask.device)
        for value in (0.0, torch.finfo(dtype).min)
    )
    return torch.where(mask, zero, least)
