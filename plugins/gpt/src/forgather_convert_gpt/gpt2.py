"""GPT-2: learned positions, and linear layers whose matrices are transposed."""

from collections.abc import Mapping
from typing import Any, ClassVar

from forgather_convert import (
    HFConverter,
    OptionError,
    SourceConfig,
    UnsupportedModelError,
    WeightMappingDict,
)

_HF = "transformer.h.{layer}"
_FG = "causal_lm.layer_stack.layers.{layer}"
_WITH_BIAS = {
    f"{_HF}.ln_1": f"{_FG}.norm1",
    f"{_HF}.attn.c_attn": f"{_FG}.attention.qkv_linear",
    f"{_HF}.attn.c_proj": f"{_FG}.attention.output_linear",
    f"{_HF}.ln_2": f"{_FG}.norm2",
    f"{_HF}.mlp.c_fc": f"{_FG}.feedforward.up_proj",
    f"{_HF}.mlp.c_proj": f"{_FG}.feedforward.down_proj",
    "transformer.ln_f": "causal_lm.layer_stack.layer_norm",
}


class GPT2(HFConverter):
    """GPT-2."""

    model_type = "gpt2"
    aliases = ("gpt-sw3",)
    tokenizer_class = "GPT2Tokenizer"
    has_rope = False
    field_names: ClassVar[Mapping[str, str]] = {
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
    weight_mapping: ClassVar[WeightMappingDict] = {
        "transformer.wte.weight": "causal_lm.input_encoder.embedding.word_embedding.weight",
        "transformer.wpe.weight": "causal_lm.input_encoder.position_embedding.weight",
        **{
            f"{hf}.{kind}": f"{fg}.{kind}"
            for hf, fg in _WITH_BIAS.items()
            for kind in ("weight", "bias")
        },
        "lm_head.weight": "lm_head.weight",
    }
    components: ClassVar[Mapping[str, str]] = {
        "embedding": "token_embedding:UnpaddedTokenEmbedding",
        "input_encoder": "learned_positions:LearnedPositions",
        "positional_encoding": "no_positional_encoding:NoPositionalEncoding",
        "norm": "layer_norm:LayerNorm",
        "attention": "gpt2_attention:GPT2Attention",
        "feedforward": "gpt2_feedforward:GPT2Feedforward",
    }

    def get_hf_model_class(self) -> Any:
        from transformers import GPT2LMHeadModel

        return GPT2LMHeadModel

    def own_hyperparameters(self, config: SourceConfig) -> Mapping[str, Any]:
        return {
            "intermediate_size": config.get("n_inner") or 4 * config.get("hidden_size", 0),
            "num_key_value_heads": config.get("num_attention_heads"),
            "attention_bias": True,
            "mlp_bias": True,
        }

    def create_project_config(self, src_config: SourceConfig, max_length: int | None = None) -> Any:
        _check_length(src_config, max_length)
        return super().create_project_config(src_config, max_length)

    def create_hf_config(self, src_config: SourceConfig, max_length: int | None = None) -> Any:
        _check_length(src_config, max_length)
        return super().create_hf_config(src_config, max_length)

    def validate_source_config(self, src_config: SourceConfig, direction: str) -> None:
        if src_config.get("add_cross_attention"):
            raise UnsupportedModelError(
                f"In {src_config.origin}, 'add_cross_attention' is set. A decoder that attends to "
                "an encoder is not a causal language model, and cannot be converted."
            )


def _check_length(config: SourceConfig, max_length: int | None) -> None:
    longest = config.get("max_position_embeddings")
    if max_length not in (None, longest):
        raise OptionError(
            f"--max-length is {max_length}, and {config.origin} has {longest} positions, for each "
            "of which a GPT-2 has learned a vector. Leave the option out."
        )
