"""OPT: learned positions that do not count padding."""

from collections.abc import Mapping
from typing import Any

from forgather_convert import HFConverter, SourceConfig, UnsupportedModelError


class OPT(HFConverter):
    """OPT and Galactica."""

    model_type = "opt"
    hf_model = "OPTForCausalLM"
    needs_transformers = "5.2"
    supports_version_4 = True
    tokenizer_class = "GPT2Tokenizer"
    has_rope = False
    has_learned_positions = True
    field_names = {
        "ffn_dim": "intermediate_size",
        "activation_function": "hidden_act",
        "dropout": "layer_dropout",
        "enable_bias": "attention_bias",
        "init_std": "initializer_range",
        "word_embed_proj_dim": "embedding_size",
    }
    hyperparameters = (
        *field_names,
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "max_position_embeddings",
        "do_layer_norm_before",
        "attention_dropout",
        "use_cache",
        "tie_word_embeddings",
        "bos_token_id",
        "eos_token_id",
        "pad_token_id",
    )
    unsupported = {
        "layerdrop": "The dynamic model has no layers that training skips at random.",
    }
    hf_layers = "model.decoder.layers"
    layer_weights = {
        "self_attn.out_proj": "attention.output_linear",
        "self_attn_layer_norm": "norm1",
        "final_layer_norm": "norm2",
        "fc1": "feedforward.up_proj",
        "fc2": "feedforward.down_proj",
    }
    model_weights = {
        "model.decoder.embed_tokens": "causal_lm.input_encoder.embedding.word_embedding",
        "model.decoder.embed_positions": "causal_lm.input_encoder.position_embedding",
        "model.decoder.project_in": "causal_lm.input_encoder.projection",
        "model.decoder.project_out": "causal_lm.layer_stack.projection",
        "model.decoder.final_layer_norm": "causal_lm.layer_stack.layer_norm",
    }
    components = {
        "input_encoder": "unpadded_positions:UnpaddedPositions",
        "positional_encoding": "no_positional_encoding:NoPositionalEncoding",
        "layer_stack": "projected_layer_stack:ProjectedLayerStack",
        "layer": "opt_layer:OPTLayer",
        "norm": "layer_norm:LayerNorm",
        "attention": "scaled_query_attention:ScaledQueryAttention",
        "feedforward": "feedforward:Feedforward",
    }

    def own_hyperparameters(self, config: SourceConfig) -> Mapping[str, Any]:
        has_bias = config.get("enable_bias", config.get("attention_bias"))
        return {
            "num_key_value_heads": config.get("num_attention_heads"),
            "mlp_bias": has_bias,
            "layer_norm_eps": 1e-5,
        }

    def validate_source_config(self, src_config: SourceConfig, direction: str) -> None:
        if not src_config.get("layer_norm_elementwise_affine", True):
            raise UnsupportedModelError(
                f"In {src_config.origin}, 'layer_norm_elementwise_affine' is false. Norms without "
                "weights are not supported for OPT."
            )
