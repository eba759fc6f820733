"""GPT-NeoX: both blocks of a layer may get the same input, and one matrix has all projections."""

from collections.abc import Mapping
from typing import Any, ClassVar

from forgather_convert import (
    STANDARD_HYPERPARAMETERS,
    HFConverter,
    RopeParameters,
    SourceConfig,
    WeightMappingDict,
)

_HF = "gpt_neox.layers.{layer}"
_FG = "causal_lm.layer_stack.layers.{layer}"
_WITH_BIAS = {
    f"{_HF}.input_layernorm": f"{_FG}.norm1",
    f"{_HF}.post_attention_layernorm": f"{_FG}.norm2",
    f"{_HF}.attention.query_key_value": f"{_FG}.attention.qkv_linear",
    f"{_HF}.attention.dense": f"{_FG}.attention.output_linear",
    f"{_HF}.mlp.dense_h_to_4h": f"{_FG}.feedforward.up_proj",
    f"{_HF}.mlp.dense_4h_to_h": f"{_FG}.feedforward.down_proj",
    "gpt_neox.final_layer_norm": "causal_lm.layer_stack.layer_norm",
}


class GPTNeoX(HFConverter):
    """GPT-NeoX-20B and Pythia."""

    model_type = "gpt_neox"
    tokenizer_class = "GPTNeoXTokenizerFast"
    hyperparameters = (
        *(
            name
            for name in STANDARD_HYPERPARAMETERS
            if name not in ("num_key_value_heads", "head_dim", "rms_norm_eps")
        ),
        "layer_norm_eps",
        "hidden_dropout",
        "use_parallel_residual",
        "attention_bias",
        "partial_rotary_factor",
    )
    weight_mapping: ClassVar[WeightMappingDict] = {
        "gpt_neox.embed_in.weight": "causal_lm.input_encoder.embedding.word_embedding.weight",
        **{
            f"{hf}.{kind}": f"{fg}.{kind}"
            for hf, fg in _WITH_BIAS.items()
            for kind in ("weight", "bias")
        },
        "embed_out.weight": "lm_head.weight",
    }
    components: ClassVar[Mapping[str, str]] = {
        "embedding": "token_embedding:UnpaddedTokenEmbedding",
        "norm": "layer_norm:LayerNorm",
        "layer": "neox_layer:NeoXLayer",
        "attention": "neox_attention:NeoXAttention",
        "feedforward": "feedforward:Feedforward",
    }

    def get_hf_model_class(self) -> Any:
        from transformers import GPTNeoXForCausalLM

        return GPTNeoXForCausalLM

    def get_rope_fields(self, rope: RopeParameters) -> Mapping[str, Any]:
        """Adds the names by which all versions of transformers know base and rotated part."""
        return {
            **rope.to_fields(),
            "rotary_emb_base": rope.theta,
            "rotary_pct": rope.options.get("partial_rotary_factor", 1.0),
        }

    def own_hyperparameters(self, config: SourceConfig) -> Mapping[str, Any]:
        dropout = config.get("hidden_dropout", 0.0)
        return {
            "num_key_value_heads": config.get("num_attention_heads"),
            "mlp_bias": True,
            "layer_dropout": dropout,
            "embedding_dropout": dropout,
        }
