"""Tiny Mistrals, with the window in the forms that configs have, Ministrals and Mixtrals."""

from forgather_convert import TINY_DECODER

_MISTRAL_WINDOW = {**TINY_DECODER, "sliding_window": 8}

MISTRAL = {
    "window": _MISTRAL_WINDOW,
    # It means a window of 4096.
    "missing-window": TINY_DECODER,
    "tied": {**_MISTRAL_WINDOW, "tie_word_embeddings": True},
    "null-head-dim": {**_MISTRAL_WINDOW, "head_dim": None},
    "no-window": {
        **TINY_DECODER,
        "sliding_window": None,
        "head_dim": 32,
        "rope_scaling": {
            "rope_type": "yarn",
            "factor": 4.0,
            "original_max_position_embeddings": 32,
        },
    },
}

MINISTRAL = {
    "windows-in-all-layers": _MISTRAL_WINDOW,
    "windows-by-layer-types-tied": {
        **_MISTRAL_WINDOW,
        "tie_word_embeddings": True,
        "head_dim": 32,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    },
}

_MINISTRAL3_ROPE = {
    "rope_type": "yarn",
    "factor": 16.0,
    # Steps within a short prompt.
    "original_max_position_embeddings": 8,
    "max_position_embeddings": 128,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
    "llama_4_scaling_beta": 0.1,
    "rope_theta": 1000000.0,
}

MINISTRAL3 = {
    "published": {**TINY_DECODER, "head_dim": 24, "rope_parameters": _MINISTRAL3_ROPE},
    "tied-window": {
        **_MISTRAL_WINDOW,
        "tie_word_embeddings": True,
        "rope_parameters": {**_MINISTRAL3_ROPE, "llama_4_scaling_beta": 0.0},
    },
}

_MIXTRAL_EXPERTS = {**TINY_DECODER, "num_hidden_layers": 2, "num_local_experts": 5}

MIXTRAL = {
    "plain": {**_MIXTRAL_EXPERTS, "num_experts_per_tok": 2},
    "options": {
        **_MIXTRAL_EXPERTS,
        "num_experts_per_tok": 3,
        "head_dim": 24,
        "sliding_window": 8,
        "tie_word_embeddings": True,
        "router_jitter_noise": 0.1,
    },
}

#: Of the text models.
MISTRAL3 = {
    "plain": {**TINY_DECODER, "sliding_window": None, "head_dim": 24},
    "tied-window": {**_MISTRAL_WINDOW, "tie_word_embeddings": True},
}
