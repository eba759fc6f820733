"""Tiny configs of families whose checkpoints have all the forms that there are."""

from collections.abc import Mapping
from typing import Any

from transformers import AutoConfig

_SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_GROUPED = {"num_key_value_heads": 2, "head_dim": 8}

#: A config, and a name that tells the form of its checkpoints.
FAMILIES: Mapping[str, tuple[dict[str, Any], str]] = {
    "llama": (_GROUPED, "model.layers.1.mlp.gate_proj.weight"),
    "gpt2": ({"n_positions": 32}, "transformer.h.1.attn.c_attn.weight"),
    "gpt_neox": ({}, "embed_out.weight"),
    "phi": ({}, "lm_head.bias"),
    "qwen3_moe": (
        {
            **_GROUPED,
            "moe_intermediate_size": 16,
            "num_experts": 3,
            "num_experts_per_tok": 2,
            "mlp_only_layers": [0],
        },
        "model.layers.1.mlp.experts.2.gate_proj.weight",
    ),
    "mixtral": (
        {**_GROUPED, "num_local_experts": 3},
        "model.layers.1.block_sparse_moe.experts.2.w3.weight",
    ),
    "gpt_oss": (
        {**_GROUPED, "num_local_experts": 3, "num_experts_per_tok": 2},
        "model.layers.1.mlp.experts.gate_up_proj_bias",
    ),
    "deepseek_v3": (
        {
            "num_key_value_heads": 4,
            "n_routed_experts": 4,
            "n_shared_experts": 1,
            "moe_intermediate_size": 16,
            "num_experts_per_tok": 2,
            "n_group": 2,
            "topk_group": 1,
            "first_k_dense_replace": 1,
            "q_lora_rank": 16,
            "kv_lora_rank": 16,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 8,
            "v_head_dim": 8,
        },
        "model.layers.1.mlp.experts.3.up_proj.weight",
    ),
}


def a_config(family: str, **fields: Any) -> Any:
    """A tiny config of a family."""
    return AutoConfig.for_model(family, **_SIZES, **FAMILIES[family][0], **fields)
