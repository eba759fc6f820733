"""Tiny MiniMax-M2s: as published, and with whole heads rotated, jitter and the head tied."""

from forgather_convert import TINY_DECODER

_EXPERTS = {**TINY_DECODER, "num_hidden_layers": 2, "num_local_experts": 8}

MINIMAX_M2 = {
    # The published configs say how much of a head is rotated in this way.
    "published": {**_EXPERTS, "head_dim": 24, "rotary_dim": 12, "num_experts_per_tok": 3},
    "all-rotated-tied": {
        **_EXPERTS,
        "head_dim": 16,
        "num_experts_per_tok": 2,
        "attention_dropout": 0.1,
        "router_jitter_noise": 0.1,
        "rms_norm_eps": 1e-05,
        "tie_word_embeddings": True,
        "rope_theta": 50000.0,
        "rope_scaling": {"rope_type": "linear", "factor": 2.0},
    },
}
