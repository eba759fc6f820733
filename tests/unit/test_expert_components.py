"""The blocks of experts compute what those of transformers compute, bit for bit."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from forgather_convert.dynamic_model.components.biased_experts import BiasedExperts
from forgather_convert.dynamic_model.components.chosen_softmax_router import ChosenSoftmaxRouter
from forgather_convert.dynamic_model.components.experts_implementation import HAS_STACKED_EXPERTS
from forgather_convert.dynamic_model.components.gated_experts import (
    GatedExperts,
    TokenOrderedExperts,
)
from forgather_convert.dynamic_model.components.group_limited_router import GroupLimitedRouter
from forgather_convert.dynamic_model.components.mixture_of_experts import (
    GatedSharedMixtureOfExperts,
    MixtureOfExperts,
    SharedMixtureOfExperts,
)
from forgather_convert.dynamic_model.components.softmax_router import (
    PreciseSoftmaxRouter,
    SoftmaxRouter,
)

_SIZES: Mapping[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_experts_per_tok": 3,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


class _Family:
    """A family of transformers and the components that stand for its block."""

    def __init__(
        self, config: Mapping[str, Any], block: Any, router: Any, experts: Any, **names: str
    ) -> None:
        self.config, self.block, self.router, self.experts = config, block, router, experts
        self.names = names


_QWEN3_MOE = {"intermediate_size": 96, "moe_intermediate_size": 48, "num_experts": 7}
_DEEPSEEK_V3 = {
    "intermediate_size": 96,
    "moe_intermediate_size": 48,
    "n_routed_experts": 8,
    "n_shared_experts": 2,
    "n_group": 4,
    "topk_group": 2,
    "first_k_dense_replace": 1,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
}
FAMILIES = {
    "mixtral": _Family(
        {"model_type": "mixtral", "intermediate_size": 96, "num_local_experts": 7},
        MixtureOfExperts,
        PreciseSoftmaxRouter,
        GatedExperts,
        count="num_local_experts",
    ),
    "qwen3_moe": _Family(
        {"model_type": "qwen3_moe", **_QWEN3_MOE, "norm_topk_prob": True},
        MixtureOfExperts,
        SoftmaxRouter,
        GatedExperts,
        count="num_experts",
    ),
    "qwen3_moe, not normalized": _Family(
        {"model_type": "qwen3_moe", **_QWEN3_MOE, "norm_topk_prob": False},
        MixtureOfExperts,
        SoftmaxRouter,
        GatedExperts,
        count="num_experts",
    ),
    "qwen2_moe": _Family(
        {"model_type": "qwen2_moe", **_QWEN3_MOE, "shared_expert_intermediate_size": 40},
        GatedSharedMixtureOfExperts,
        SoftmaxRouter,
        GatedExperts,
        count="num_experts",
    ),
    "gpt_oss": _Family(
        {"model_type": "gpt_oss", "intermediate_size": 96, "num_local_experts": 7},
        MixtureOfExperts,
        ChosenSoftmaxRouter,
        BiasedExperts,
        count="num_local_experts",
        gate="router",
    ),
    "deepseek_v3": _Family(
        {"model_type": "deepseek_v3", **_DEEPSEEK_V3},
        SharedMixtureOfExperts,
        GroupLimitedRouter,
        TokenOrderedExperts,
        count="n_routed_experts",
    ),
}


def _blocks(name: str, dtype: torch.dtype) -> tuple[nn.Module, nn.Module]:
    """The block of transformers with random weights, and ours with the same."""
    family = FAMILIES[name]
    fields = {**_SIZES, **family.config}
    if fields["model_type"] == "deepseek_v3":
        fields["num_key_value_heads"] = 4
    config = AutoConfig.for_model(**fields)
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        layer = AutoModelForCausalLM.from_config(config).model.layers[1]
        theirs = layer.mlp if hasattr(layer, "mlp") else layer.block_sparse_moe
        own = _own_config(config, family)
        ours = family.block(own, router=family.router(own), experts=family.experts(own))
    finally:
        torch.set_default_dtype(before)
    for tensor in theirs.state_dict().values():
        tensor.copy_(torch.randn(tensor.shape) * 0.3)
    ours.load_state_dict(_as_ours(theirs.state_dict(), family.names.get("gate", "gate")))
    return theirs.train(), ours.train()


def _own_config(config: Any, family: _Family) -> Any:
    fields = {**config.to_dict(), "num_experts": getattr(config, family.names["count"])}
    fields.setdefault("norm_topk_prob", True)
    implementation = getattr(config, "_experts_implementation", None)
    return SimpleNamespace(**fields, mlp_bias=False, _experts_implementation=implementation)


def _as_ours(state: Mapping[str, torch.Tensor], gate: str) -> dict[str, torch.Tensor]:
    parts = ("w1", "w3", "w2") if any(".w1." in name for name in state) else None
    parts = parts or ("gate_proj", "up_proj", "down_proj")
    series = [
        [state[f"experts.{index}.{part}.weight"] for index in range(len(state))
         if f"experts.{index}.{part}.weight" in state]
        for part in parts
    ]  # fmt: skip
    ours = {
        name.replace(f"{gate}.", "router.", 1) if name.startswith(f"{gate}.") else name: tensor
        for name, tensor in state.items()
        if not name.startswith("experts.") or not name.split(".")[1].isdigit()
    }
    if series[0]:
        both = [torch.cat(pair) for pair in zip(series[0], series[1], strict=True)]
        ours["experts.gate_up_proj"] = torch.stack(both)
        ours["experts.down_proj"] = torch.stack(series[2])
    return ours


def _output(block: nn.Module, hidden_states: torch.Tensor) -> torch.Tensor:
    result = block(hidden_states)
    output: torch.Tensor = result[0] if isinstance(result, tuple) else result
    return output


def _use(implementation: str | None, *blocks: nn.Module) -> None:
    for block in blocks:
        for module in block.modules():
            config = getattr(module, "config", None)
            if config is not None and implementation is not None:
                config._experts_implementation = implementation


IMPLEMENTATIONS = ["eager", "batched_mm", "grouped_mm"] if HAS_STACKED_EXPERTS else [None]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_outputs_and_gradients_are_equal(
    family: str, dtype: torch.dtype, implementation: str | None
) -> None:
    theirs, ours = _blocks(family, dtype)
    _use(implementation, theirs, ours)
    hidden_states = torch.randn(2, 19, 64).to(dtype)
    inputs = [hidden_states.clone().requires_grad_() for _ in range(2)]
    outputs = [_output(block, one) for block, one in zip((theirs, ours), inputs, strict=True)]
    assert torch.equal(*outputs)
    for output in outputs:
        output.float().square().sum().backward()  # type: ignore[no-untyped-call]
    assert inputs[0].grad is not None
    assert inputs[1].grad is not None
    assert torch.equal(inputs[0].grad, inputs[1].grad)


@pytest.mark.skipif(not HAS_STACKED_EXPERTS, reason="transformers 4 has one implementation")
@pytest.mark.parametrize("family", FAMILIES)
def test_the_implementation_is_that_of_transformers(family: str) -> None:
    """What a config asks for is what runs: an unknown one is an error, as in transformers."""
    _, ours = _blocks(family, torch.float32)
    _use("no such thing", ours)
    with pytest.raises(KeyError, match="no such thing"):
        ours(torch.randn(1, 2, 64))
