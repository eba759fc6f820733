"""Router logits, by which experts are chosen, and the load-balancing loss."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func


@contextmanager
def recorded_router_logits(
    model: nn.Module, is_wanted: bool
) -> Iterator[list[torch.Tensor] | None]:
    """Yields a list that receives each router's logits, ``[tokens, experts]``, as the model runs.

    A router is a module with the attribute ``gives_logits``, whose output begins with them. Other
    threads may run the same model meanwhile.
    """
    if not is_wanted:
        yield None
        return
    logits: list[torch.Tensor] = []
    own_thread = threading.get_ident()

    def record(module: nn.Module, inputs: Any, output: Any) -> None:
        if threading.get_ident() == own_thread:
            logits.append(output[0])

    hooks = [
        module.register_forward_hook(record)
        for module in model.modules()
        if getattr(module, "gives_logits", False)
    ]
    try:
        yield logits
    finally:
        for hook in hooks:
            hook.remove()


def load_balancing_loss(
    config: Any, router_logits: tuple[torch.Tensor, ...], attention_mask: torch.Tensor | None
) -> Any:
    """The auxiliary loss, as the installed transformers computes it.

    Fedus, Zoph and Shazeer, "Switch Transformers", 2021, equations 4 to 6.
    """
    return load_balancing_loss_func(
        router_logits, config.num_experts, config.num_experts_per_tok, attention_mask
    )
