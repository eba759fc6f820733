"""Tiny ERNIEs: with biases and without, head sizes of their own, and experts in some layers."""

from forgather_convert import TINY_DECODER

_SMALL = {name: value for name, value in TINY_DECODER.items() if name != "attention_dropout"}

ERNIE4_5 = {
    "plain-tied": {**_SMALL, "head_dim": 24, "tie_word_embeddings": True},
    "biases-linear-rope": {
        **_SMALL,
        "head_dim": None,
        "num_key_value_heads": 1,
        "hidden_act": "gelu",
        "use_bias": True,
        "rope_theta": 20000.0,
        "rope_scaling": {"rope_type": "linear", "factor": 2.0},
    },
}

_EXPERTS = {
    **_SMALL,
    "moe_intermediate_size": 32,
    "moe_num_experts": 8,
    "moe_k": 3,
}

ERNIE4_5_MOE = {
    # The first layer is dense, as published.
    "plain-tied": {**_EXPERTS, "num_hidden_layers": 2, "tie_word_embeddings": True},
    # The second layer has experts, none of them shared. Some sums are below the smallest one.
    "one-sparse-layer": {
        **_EXPERTS,
        "num_hidden_layers": 4,
        "head_dim": 24,
        "hidden_act": "gelu",
        "moe_num_shared_experts": 0,
        "moe_layer_start_index": 0,
        "moe_layer_end_index": 2,
        "moe_layer_interval": 2,
        "moe_norm_min": 0.5,
        "rope_theta": 20000.0,
        "rope_scaling": {"rope_type": "linear", "factor": 2.0},
    },
}
