"""GPT-NeoX: both blocks of a layer may have the same input, and projections are fused."""

from collections.abc import Mapping
from typing import Any

from forgather_convert import STANDARD, HFConverter, RopeParameters, SourceConfig, without


class GPTNeoX(HFConverter):
    """GPT-NeoX-20B and Pythia."""

    model_type = "gpt_neox"
    hf_model = "GPTNeoXForCausalLM"
    tokenizer_class = "GPTNeoXTokenizerFast"
    hyperparameters = without(STANDARD, "num_key_value_heads", "head_dim", "rms_norm_eps") + (
        "layer_norm_eps",
        "hidden_dropout",
        "use_parallel_residual",
        "attention_bias",
        "partial_rotary_factor",
    )
    hf_layers = "gpt_neox.layers"
    layer_weights = {
        "attention.query_key_value": "attention.qkv_linear",
        "attention.dense": "attention.output_linear",
        "mlp.dense_h_to_4h": "feedforward.up_proj",
        "mlp.dense_4h_to_h": "feedforward.down_proj",
    }
    model_weights = {
        "gpt_neox.embed_in": "causal_lm.input_encoder.embedding.word_embedding",
        "gpt_neox.final_layer_norm": "causal_lm.layer_stack.layer_norm",
        "embed_out": "lm_head",
    }
    components = {
        "embedding": "token_embedding:UnpaddedTokenEmbedding",
        "norm": "layer_norm:LayerNorm",
        "layer": "neox_layer:NeoXLayer",
        "attention": "neox_attention:NeoXAttention",
        "feedforward": "feedforward:Feedforward",
    }

    def get_rope_fields(self, rope: RopeParameters) -> Mapping[str, Any]:
        """Adds the names that all versions of transformers use for base and rotated part."""
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
