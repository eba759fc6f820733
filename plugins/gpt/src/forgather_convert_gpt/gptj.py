"""GPT-J: parallel blocks behind one norm, and rotary positions of adjacent dimensions."""

from collections.abc import Mapping
from typing import Any, ClassVar

from forgather_convert import HFConverter, SourceConfig, UnsupportedModelError, without

from .gpt2 import GPT2


class GPTJ(HFConverter):
    """GPT-J."""

    model_type = "gptj"
    hf_model = "GPTJForCausalLM"
    tokenizer_class = "GPT2Tokenizer"
    # Its frequencies do not depend on fields of the config.
    has_rope = False
    field_names = GPT2.field_names
    hyperparameters = (
        *without(
            GPT2.hyperparameters,
            "scale_attn_weights",
            "scale_attn_by_inverse_layer_idx",
            "reorder_and_upcast_attn",
        ),
        "rotary_dim",
    )
    hf_layers = "transformer.h"
    layer_weights: ClassVar[Mapping[str, str]] = {
        "ln_1": "norm1",
        "attn.q_proj": "attention.query_linear",
        "attn.k_proj": "attention.key_linear",
        "attn.v_proj": "attention.value_linear",
        "attn.out_proj": "attention.output_linear",
        "mlp.fc_in": "feedforward.up_proj",
        "mlp.fc_out": "feedforward.down_proj",
    }
    model_weights = {
        "transformer.wte": "causal_lm.input_encoder.embedding.word_embedding",
        "transformer.ln_f": "causal_lm.layer_stack.layer_norm",
    }
    components: ClassVar[Mapping[str, str]] = {
        "embedding": "token_embedding:UnpaddedTokenEmbedding",
        "positional_encoding": "gptj_positions:GPTJPositions",
        "layer": "parallel_layer:BlocksFirstParallelLayer",
        "norm": "layer_norm:LayerNorm",
        "attention": "gptj_attention:GPTJAttention",
        "feedforward": "feedforward:Feedforward",
        "head": "gptj_head:GPTJHead",
    }

    def own_hyperparameters(self, config: SourceConfig) -> Mapping[str, Any]:
        return {
            "intermediate_size": config.get("n_inner") or 4 * config.get("hidden_size", 0),
            "num_key_value_heads": config.get("num_attention_heads"),
            "mlp_bias": True,
            "lm_head_bias": True,
        }

    def validate_source_config(self, src_config: SourceConfig, direction: str) -> None:
        if not src_config.get("rotary_dim", 1):
            raise UnsupportedModelError(
                f"In {src_config.origin}, 'rotary_dim' is {src_config['rotary_dim']!r}, with which "
                "transformers makes angles that do not fit heads. Give the number of dimensions."
            )
