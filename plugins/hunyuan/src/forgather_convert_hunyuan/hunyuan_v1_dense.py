"""Hunyuan, dense: a norm over each query and key head after the rotation, and a stretched base."""

from forgather_convert import STANDARD, HFConverter


class HunYuanDenseV1(HFConverter):
    """The dense Hunyuan models."""

    model_type = "hunyuan_v1_dense"
    hf_model = "HunYuanDenseV1ForCausalLM"
    tokenizer_class = "PreTrainedTokenizerFast"
    needs_transformers = "5.20"
    supports_version_4 = True
    hyperparameters = STANDARD + ("attention_bias", "eod_token_id", "pretraining_tp")
    layer_weights = {
        "self_attn.query_layernorm": "attention.q_norm",
        "self_attn.key_layernorm": "attention.k_norm",
    }
    components = {
        "attention": "rotation_norm_attention:RotationNormAttention",
        "positional_encoding": "stretched_rotary_embedding:StretchedRotaryEmbedding",
    }
