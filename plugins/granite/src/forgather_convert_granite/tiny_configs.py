"""Tiny Granites: with their class's factors and with others, none of them a power of two."""

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
