"""Tiny StableLMs: with blocks one after the other and parallel, and with norms of heads."""

import transformers

from forgather_convert import TINY_DECODER

_SMALL = {
    **{name: value for name, value in TINY_DECODER.items() if name != "rms_norm_eps"},
    "num_hidden_layers": 2,
}

STABLELM = {
    "plain": {**_SMALL, "partial_rotary_factor": 0.5},
    "parallel-tied": {
        **_SMALL,
        "partial_rotary_factor": 1.0,
        "use_parallel_residual": True,
        "use_qkv_bias": True,
        # transformers 4 can load norms of heads, but not make new ones.
        "qk_layernorm": not transformers.__version__.startswith("4."),
        "layer_norm_eps": 1e-3,
        "hidden_dropout": 0.2,
        "attention_dropout": 0.1,
        "tie_word_embeddings": True,
        "rope_scaling": {"rope_type": "linear", "factor": 2.0},
    },
}
