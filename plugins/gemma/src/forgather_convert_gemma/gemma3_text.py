"""Gemma 3, text: sandwich norms, normalised heads, and RoPE and windows by kind of layers."""

from forgather_convert import STANDARD, HFConverter, without


class Gemma3Text(HFConverter):
    """The text models of Gemma 3."""

    model_type = "gemma3_text"
    hf_model = "Gemma3ForCausalLM"
    tokenizer_class = "GemmaTokenizer"
    hyperparameters = without(STANDARD, "hidden_act") + (
        "hidden_activation",
        "attention_bias",
        "sliding_window",
        "layer_types",
        "query_pre_attn_scalar",
        "attn_logit_softcapping",
        "final_logit_softcapping",
        "rope_local_base_freq",
    )
    field_names = {"hidden_activation": "hidden_act"}
    unsupported = {
        "use_bidirectional_attention": "A Forgather model attends to the past only.",
    }
    layer_weights = {
        "pre_feedforward_layernorm": "norm3",
        "post_feedforward_layernorm": "norm4",
    }
    components = {
        "embedding": "token_embedding:ScaledTokenEmbedding",
        "layer": "sandwich_norm_layer:SandwichNormLayer",
        "attention": "qk_norm_attention:QKNormAttention",
        "norm": "rms_norm:ZeroCenteredRMSNorm",
        "head": "softcapped_head:SoftcappedHead",
    }
