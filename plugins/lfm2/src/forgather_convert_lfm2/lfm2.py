"""LFM2: short convolutions in most layers, attention in the others."""

from forgather_convert import STANDARD, HFConverter, without


class Lfm2(HFConverter):
    """The dense LFM2 models."""

    model_type = "lfm2"
    hf_model = "Lfm2ForCausalLM"
    needs_transformers = "5.18"
    supports_version_4 = True
    tokenizer_class = "PreTrainedTokenizerFast"
    hyperparameters = without(STANDARD, "hidden_act", "rms_norm_eps", "attention_dropout") + (
        "norm_eps",
        "layer_types",
        "full_attn_idxs",
        "conv_bias",
        "conv_L_cache",
        "block_auto_adjust_ff_dim",
        "block_ffn_dim_multiplier",
        "block_multiple_of",
    )
    fixed_hyperparameters = {"hidden_act": "silu", "attention_dropout": 0.0}
    layer_weights = {
        "operator_norm": "norm1",
        "ffn_norm": "norm2",
        "self_attn.out_proj": "attention.output_linear",
        "self_attn.q_layernorm": "attention.q_norm",
        "self_attn.k_layernorm": "attention.k_norm",
        "conv.conv": "mixer.conv",
        "conv.in_proj": "mixer.in_proj",
        "conv.out_proj": "mixer.out_proj",
        "feed_forward.w1": "feedforward.gate_proj",
        "feed_forward.w3": "feedforward.up_proj",
        "feed_forward.w2": "feedforward.down_proj",
    }
    model_weights = {"model.embedding_norm": "causal_lm.layer_stack.layer_norm"}
    components = {
        "layer": {
            "full_attention": "pre_norm_layer:PreNormLayer",
            "conv": "pre_norm_mixer_layer:PreNormMixerLayer",
            # What some versions of transformers, such as 5.16, make of the same kind.
            "linear_attention": "pre_norm_mixer_layer:PreNormMixerLayer",
        },
        "attention": "qk_norm_attention:QKNormAttention",
        "mixer": "short_convolution:ShortConvolution",
        "feedforward": "adjusted_feedforward:AdjustedFeedforward",
    }
