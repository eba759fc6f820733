"""Tiny OLMo 2s: as published, and with biases, another base of RoPE and the head tied."""

from forgather_convert import TINY_DECODER

OLMO2 = {
    "plain": TINY_DECODER,
    "biases-tied": {
        **TINY_DECODER,
        "attention_bias": True,
        "tie_word_embeddings": True,
        "rope_theta": 500000.0,
    },
}
