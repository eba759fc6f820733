"""Tiny LFM2s: with both kinds of layers, and with one of them first."""

from forgather_convert import TINY_DECODER, without

_NAMES = without(tuple(TINY_DECODER), "hidden_act", "rms_norm_eps", "attention_dropout")
_SMALL = {name: TINY_DECODER[name] for name in _NAMES}

LFM2 = {
    "plain-tied": {
        **_SMALL,
        "num_hidden_layers": 4,
        "layer_types": ["conv", "full_attention", "conv", "full_attention"],
        "block_multiple_of": 16,
        "tie_word_embeddings": True,
    },
    "options": {
        **_SMALL,
        "full_attn_idxs": [0, 2],
        "conv_bias": True,
        "conv_L_cache": 4,
        "norm_eps": 1e-3,
        "block_auto_adjust_ff_dim": False,
        "rope_theta": 50000.0,
        "rope_scaling": {"rope_type": "linear", "factor": 2.0},
    },
}
