"""Tiny StarCoder2s that cover every branch of the config."""

_SMALL = {
    "vocab_size": 160,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}

STARCODER2 = {
    "tied-with-biases-and-scaled-rope": {
        **_SMALL,
        "rope_scaling": {"rope_type": "linear", "factor": 2.0},
    },
    "windows-dropout-and-no-biases": {
        **_SMALL,
        "sliding_window": 8,
        "use_bias": False,
        "tie_word_embeddings": False,
        "hidden_act": "gelu",
        "norm_epsilon": 1e-3,
        "attention_dropout": 0.1,
        "residual_dropout": 0.2,
        "embedding_dropout": 0.3,
    },
}
