"""BLOOM: biases of the scores instead of positions, and a norm after the embedding."""

from collections.abc import Mapping
from typing import Any

from forgather_convert import HFConverter, SourceConfig


class Bloom(HFConverter):
    """BLOOM and BLOOMZ."""

    model_type = "bloom"
    hf_model = "BloomForCausalLM"
    tokenizer_class = "PreTrainedTokenizerFast"
    has_rope = False
    field_names = {
        "n_layer": "num_hidden_layers",
        "n_head": "num_attention_heads",
        "hidden_dropout": "layer_dropout",
    }
    hyperparameters = (
        *field_names,
        "vocab_size",
        "hidden_size",
        "layer_norm_epsilon",
        "initializer_range",
        "apply_residual_connection_post_layernorm",
        "attention_dropout",
        "use_cache",
        "tie_word_embeddings",
        "bos_token_id",
        "eos_token_id",
        "pad_token_id",
    )
    unsupported = {
        "slow_but_exact": "The dynamic model does not add parts of products as tensor parallelism "
        "did when BLOOM was trained.",
    }
    hf_layers = "transformer.h"
    layer_weights = {
        "input_layernorm": "norm1",
        "self_attention.query_key_value": "attention.qkv_linear",
        "self_attention.dense": "attention.output_linear",
        "post_attention_layernorm": "norm2",
        "mlp.dense_h_to_4h": "feedforward.up_proj",
        "mlp.dense_4h_to_h": "feedforward.down_proj",
    }
    model_weights = {
        "transformer.word_embeddings": "causal_lm.input_encoder.embedding.word_embedding",
        "transformer.word_embeddings_layernorm": "causal_lm.input_encoder.norm",
        "transformer.ln_f": "causal_lm.layer_stack.layer_norm",
    }
    components = {
        "embedding": "token_embedding:UnpaddedTokenEmbedding",
        "input_encoder": "normalized_embedding:NormalizedEmbedding",
        "positional_encoding": "alibi:Alibi",
        "layer": "bloom_layer:BloomLayer",
        "norm": "layer_norm:LayerNorm",
        "attention": "alibi_attention:AlibiAttention",
        "feedforward": "bloom_feedforward:BloomFeedforward",
    }

    def own_hyperparameters(self, config: SourceConfig) -> Mapping[str, Any]:
        return {
            "intermediate_size": 4 * config.get("hidden_size", 0),
            "num_key_value_heads": config.get("num_attention_heads"),
            "attention_bias": True,
            "mlp_bias": True,
            "hidden_act": "gelu_pytorch_tanh",
        }
