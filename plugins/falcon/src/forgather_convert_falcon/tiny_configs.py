"""Tiny Falcon-H1s: as their class has it, and with all factors."""

from forgather_convert import TINY_DECODER

_SMALL = {
    **TINY_DECODER,
    "num_hidden_layers": 2,
    "mamba_d_ssm": 48,
    "mamba_n_heads": 4,
    "mamba_n_groups": 2,
    "mamba_d_state": 12,
    "mamba_chunk_size": 16,
}

FALCON_H1 = {
    "plain": _SMALL,
    "factors-biases-tied": {
        **_SMALL,
        "embedding_multiplier": 5.7,
        "lm_head_multiplier": 0.04,
        "attention_in_multiplier": 0.9,
        "attention_out_multiplier": 0.7,
        "key_multiplier": 0.4,
        "mlp_multipliers": [0.9, 0.2],
        "ssm_in_multiplier": 1.3,
        "ssm_out_multiplier": 0.2,
        "ssm_multipliers": [0.35, 0.25, 0.17, 0.5, 0.3],
        "mamba_rms_norm": True,
        "mamba_norm_before_gate": False,
        "mamba_d_conv": 3,
        "mamba_conv_bias": False,
        "mamba_proj_bias": True,
        "projectors_bias": True,
        "attention_bias": True,
        "mlp_bias": True,
        "tie_word_embeddings": True,
    },
}
