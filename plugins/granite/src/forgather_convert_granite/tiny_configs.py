"""Tiny Granites: with their class's factors and with others, none a power of two; experts."""

from forgather_convert import TINY_DECODER

GRANITE = {
    "plain": TINY_DECODER,
    "factors-biases-tied": {
        **TINY_DECODER,
        "embedding_multiplier": 12,
        "attention_multiplier": 0.0078125 * 3,
        "residual_multiplier": 0.22,
        "logits_scaling": 3.7,
        "attention_bias": True,
        "mlp_bias": True,
        "tie_word_embeddings": True,
        "rope_scaling": {"rope_type": "linear", "factor": 2.0},
    },
}

_EXPERTS = {
    **TINY_DECODER,
    "num_hidden_layers": 2,
    "num_local_experts": 6,
    "num_experts_per_tok": 3,
}
_FACTORS = {
    "embedding_multiplier": 12,
    "attention_multiplier": 0.0078125 * 3,
    "residual_multiplier": 0.22,
    "logits_scaling": 3.7,
}

GRANITEMOE = {
    "plain": _EXPERTS,
    "factors-biases-tied": {
        **_EXPERTS,
        **_FACTORS,
        "attention_bias": True,
        "tie_word_embeddings": True,
    },
}

GRANITEMOESHARED = {
    "none-shared": _EXPERTS,
    "shared-factors-biases-tied": {
        **_EXPERTS,
        **_FACTORS,
        "shared_intermediate_size": 40,
        "attention_bias": True,
        "tie_word_embeddings": True,
    },
}
