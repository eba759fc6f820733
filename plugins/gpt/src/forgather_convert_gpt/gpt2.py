"""GPT-2: learned positions, and linear layers whose matrices are transposed."""

from collections.abc import Mapping
from typing import Any

from forgather_convert import HFConverter, SourceConfig


class GPT2(HFConverter):
    """GPT-2."""

    model_type = "gpt2"
    aliases = ("gpt-sw3",)
    hf_model = "GPT2LMHeadModel"
    tokenizer_class = "GPT2Tokenizer"
    has_rope = False
    has_learned_positions = True
    field_names = {
        "n_embd": "hidden_size",
        "n_layer": "num_hidden_layers",
        "n_head": "num_attention_heads",
        "n_positions": "max_position_embeddings",
        "activation_function": "hidden_act",
        "attn_pdrop": "attention_dropout",
        "embd_pdrop": "embedding_dropout",
        "resid_pdrop": "layer_dropout",
    }
    hyperparameters = (
        *field_names,
        "vocab_size",
        "n_inner",
        "layer_norm_epsilon",
        "initializer_range",
        "scale_attn_weights",
        "scale_attn_by_inverse_layer_idx",
        "reorder_and_upcast_attn",
        "use_cache",
        "tie_word_embeddings",
        "bos_token_id",
        "eos_token_id",
        "pad_token_id",
    )
    unsupported = {
        "add_cross_attention": "A decoder that attends to an encoder is not a causal language "
        "model.",
    }
    hf_layers = "transformer.h"
    layer_weights = {
        "ln_1": "norm1",
        "attn.c_attn": "attention.qkv_linear",
        "attn.c_proj": "attention.output_linear",
        "ln_2": "norm2",
        "mlp.c_fc": "feedforward.up_proj",
        "mlp.c_proj": "feedforward.down_proj",
    }
    model_weights = {
        "transformer.wte": "causal_lm.input_encoder.embedding.word_embedding",
        "transformer.wpe": "causal_lm.input_encoder.position_embedding",
        "transformer.ln_f": "causal_lm.layer_stack.layer_norm",
    }
    components = {
        "embedding": "token_embedding:UnpaddedTokenEmbedding",
        "input_encoder": "learned_positions:LearnedPositions",
        "positional_encoding": "no_positional_encoding:NoPositionalEncoding",
        "norm": "layer_norm:LayerNorm",
        "attention": "gpt2_attention:GPT2Attention",
        "feedforward": "gpt2_feedforward:GPT2Feedforward",
    }

    def own_hyperparameters(self, config: SourceConfig) -> Mapping[str, Any]:
        return {
            "intermediate_size": config.get("n_inner") or 4 * config.get("hidden_size", 0),
            "num_key_value_heads": config.get("num_attention_heads"),
            "attention_bias": True,
            "mlp_bias": True,
        }
