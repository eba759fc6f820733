"""A stack of layers whose last ones attend to the keys and values of earlier ones."""

from collections import UserDict
from typing import Any

import torch

from .layer_stack import LayerStack


class _SharedHeads(UserDict[str, tuple[torch.Tensor, ...]]):
    """The keys and values that layers share in one run, by the kind of layer.

    Where layers are on several devices, they are moved once: hence this is no ``dict``, which
    would be copied for each layer.
    """

    def to(self, device: Any, non_blocking: bool = False) -> "_SharedHeads":
        """Moves them."""
        for kind, heads in self.items():
            self[kind] = tuple(each.to(device, non_blocking=non_blocking) for each in heads)
        return self


class SharingLayerStack(LayerStack):
    """A stack with the config's ``kv_sharing_modes``: ``"store"``, ``"reuse"`` or ``None`` each.

    From the first layer that reuses keys and values on, a position needs nothing of the others.
    So the positions whose logits nobody wants are left out there, as in transformers; a product
    with fewer rows has other last bits.

    Brandon et al., "Reducing Transformer Key-Value Cache Size with Cross-Layer Attention", 2024.
    """

    def run(
        self,
        hidden_states: torch.Tensor,
        attention_masks: dict[str, Any],
        position_embeddings: dict[str, Any],
        part: slice,
        *,
        all_hidden_states: list[Any] | None = None,
        per_layer_inputs: torch.Tensor | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        **kwargs: Any,
    ) -> torch.Tensor:
        kwargs["shared_heads"] = _SharedHeads()
        modes = getattr(self.config, "kv_sharing_modes", None) or ()
        first = modes.index("reuse") if "reuse" in modes else len(self.attention_types)
        hidden_states = super().run(
            hidden_states,
            attention_masks,
            position_embeddings,
            slice(first),
            all_hidden_states=all_hidden_states,
            per_layer_inputs=per_layer_inputs,
            **kwargs,
        )
        is_recorded = all_hidden_states is not None or kwargs.get("all_attentions") is not None
        if not is_recorded and self.can_leave_out(
            hidden_states, attention_masks, logits_to_keep, kwargs.get("past_key_values")
        ):
            kept = slice(-int(logits_to_keep), None)
            hidden_states = hidden_states[:, kept]
            if per_layer_inputs is not None:
                per_layer_inputs = per_layer_inputs[:, kept]
            position_embeddings = {
                kind: tuple(each[:, :, kept] for each in angles)
                for kind, angles in position_embeddings.items()
            }
            attention_masks = {
                kind: None if mask is None else mask[:, :, kept]
                for kind, mask in attention_masks.items()
            }
        return super().run(
            hidden_states,
            attention_masks,
            position_embeddings,
            slice(first, None),
            all_hidden_states=all_hidden_states,
            per_layer_inputs=per_layer_inputs,
            **kwargs,
        )

    def can_leave_out(
        self,
        hidden_states: torch.Tensor,
        attention_masks: dict[str, Any],
        logits_to_keep: int | torch.Tensor,
        past_key_values: Any,
    ) -> bool:
        """Whether positions can be left out, by transformers' rule."""
        implementation = self.config._attn_implementation
        if hidden_states.shape[1] == 1 or not isinstance(logits_to_keep, int):
            return False
        # Their masks cannot be sliced.
        if implementation == "flex_attention" or "flash" in implementation:
            return False
        # Without a mask, attention is causal, which it must not be for fewer rows than keys.
        is_static = getattr(past_key_values, "is_compileable", False)
        is_causal = implementation == "sdpa" and (logits_to_keep > 1 or is_static)
        return not (is_causal and any(mask is None for mask in attention_masks.values()))
