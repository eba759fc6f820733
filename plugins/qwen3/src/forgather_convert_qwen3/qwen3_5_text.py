"""Qwen3.5: gated delta nets in most layers and gated attention in the others, as in Qwen3-Next."""

from typing import ClassVar

from forgather_convert import STANDARD, HFConverter, WeightMappingDict


class Qwen3_5Text(HFConverter):  # noqa: N801 - its name
    """The dense text models of Qwen3.5."""

    model_type = "qwen3_5_text"
    hf_model = "Qwen3_5ForCausalLM"
    needs_transformers = "5.16"
    tokenizer_class = "Qwen2Tokenizer"
    hyperparameters = STANDARD + (
        "attention_bias",
        "partial_rotary_factor",
        "layer_types",
        "linear_conv_kernel_dim",
        "linear_key_head_dim",
        "linear_value_head_dim",
        "linear_num_key_heads",
        "linear_num_value_heads",
    )
    layer_weights = {
        f"linear_attn.{name}": f"mixer.{name}"
        for name in (
            "conv1d",
            "in_proj_qkv",
            "in_proj_z",
            "in_proj_b",
            "in_proj_a",
            "norm",
            "out_proj",
        )
    }
    layer_tensors: ClassVar[WeightMappingDict] = {
        "linear_attn.A_log": "mixer.A_log",
        "linear_attn.dt_bias": "mixer.dt_bias",
    }
    components = {
        "layer": {
            "full_attention": "pre_norm_layer:PreNormLayer",
            "linear_attention": "pre_norm_mixer_layer:PreNormMixerLayer",
        },
        "attention": "gated_attention:GatedAttention",
        "mixer": "split_delta_net:SplitDeltaNet",
        "norm": "rms_norm:ZeroCenteredRMSNorm",
    }
