"""Gemma 2: sandwich norms, soft-capped scores and logits, and windows in every other layer."""

from forgather_convert import STANDARD, HFConverter, without


class Gemma2(HFConverter):
    """Gemma 2."""

    model_type = "gemma2"
    hf_model = "Gemma2ForCausalLM"
    tokenizer_class = "GemmaTokenizer"
    hyperparameters = without(STANDARD, "hidden_act") + (
        "hidden_activation",
        "attention_bias",
        "sliding_window",
        "layer_types",
        "query_pre_attn_scalar",
        "attn_logit_softcapping",
        "final_logit_softcapping",
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
        "attention": "softcapped_attention:SoftcappedAttention",
        "norm": "rms_norm:ZeroCenteredRMSNorm",
        "head": "softcapped_head:SoftcappedHead",
    }
