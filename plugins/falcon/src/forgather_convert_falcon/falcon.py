"""Falcon: one matrix for the heads, and blocks one after the other or parallel."""

from collections.abc import Mapping
from typing import Any

from forgather_convert import STANDARD, HFConverter, SourceConfig, UnsupportedModelError, without


class Falcon(HFConverter):
    """Falcon 7B to 180B, Falcon 2 and Falcon-RW."""

    model_type = "falcon"
    hf_model = "FalconForCausalLM"
    needs_transformers = "5.2"
    supports_version_4 = True
    tokenizer_class = "PreTrainedTokenizerFast"
    field_names = {
        "activation": "hidden_act",
        "bias": "attention_bias",
        "ffn_hidden_size": "intermediate_size",
        "hidden_dropout": "layer_dropout",
    }
    hyperparameters = (
        *without(
            STANDARD,
            "hidden_act",
            "intermediate_size",
            "num_key_value_heads",
            "head_dim",
            "rms_norm_eps",
        ),
        *field_names,
        "layer_norm_epsilon",
        "new_decoder_architecture",
        "num_kv_heads",
        "num_ln_in_parallel_attn",
        "multi_query",
        "parallel_attn",
        "alibi",
    )
    unsupported = {"n_embed": "Rename it to 'hidden_size'."}
    hf_layers = "transformer.h"
    layer_weights = {
        "input_layernorm": "norm1",
        "ln_attn": "attention_norm",
        "ln_mlp": "feedforward_norm",
        "post_attention_layernorm": "norm2",
        "self_attention.query_key_value": "attention.qkv_linear",
        "self_attention.dense": "attention.output_linear",
        "mlp.dense_h_to_4h": "feedforward.up_proj",
        "mlp.dense_4h_to_h": "feedforward.down_proj",
    }
    model_weights = {
        "transformer.word_embeddings": "causal_lm.input_encoder.embedding.word_embedding",
        "transformer.ln_f": "causal_lm.layer_stack.layer_norm",
    }
    components = {
        "embedding": "token_embedding:UnpaddedTokenEmbedding",
        "layer_stack": "falcon_layer_stack:FalconLayerStack",
        "norm": "layer_norm:LayerNorm",
        "attention": "falcon_attention:FalconAttention",
        "feedforward": "falcon_feedforward:FalconFeedforward",
    }

    def own_hyperparameters(self, config: SourceConfig) -> Mapping[str, Any]:
        heads = config.get("num_attention_heads")
        if config.get("new_decoder_architecture"):
            groups = config.get("num_kv_heads") or heads
        else:
            groups = 1 if config.get("multi_query", True) else heads
        has_bias = config.get("bias", config.get("attention_bias"))
        return {"num_key_value_heads": groups, "mlp_bias": bool(has_bias)}

    def create_project_config(self, src_config: SourceConfig, max_length: int | None = None) -> Any:
        project: Any = super().create_project_config(src_config, max_length)
        layer = (
            "ParallelFalconLayer" if src_config.get("parallel_attn") else "SequentialFalconLayer"
        )
        if src_config.get("new_decoder_architecture") and _norms(src_config) == 2:
            layer = "TwoNormFalconLayer"
        components = {**project["components"], "layer": f"falcon_layer:{layer}"}
        if src_config.get("alibi"):
            components["positional_encoding"] = "rounded_alibi:RoundedAlibi"
        return {**project, "components": components}

    def validate_source_config(self, src_config: SourceConfig, direction: str) -> None:
        """Refuses combinations that transformers builds, but cannot run."""
        is_parallel = src_config.get("parallel_attn", True)
        if src_config.get("new_decoder_architecture"):
            if not is_parallel:
                raise _impossible(src_config, "parallel_attn", "true")
            if _norms(src_config) not in (1, 2):
                raise _impossible(src_config, "num_ln_in_parallel_attn", "1 or 2")
        elif is_parallel and src_config.get("num_ln_in_parallel_attn") == 2:
            raise _impossible(src_config, "num_ln_in_parallel_attn", "1")
        elif not src_config.get("multi_query", True):
            heads = src_config.get("num_attention_heads")
            if src_config.get("num_kv_heads") not in (None, heads):
                raise _impossible(src_config, "num_kv_heads", str(heads))


def _norms(config: SourceConfig) -> Any:
    """How many norms a layer of the new architecture has before its blocks."""
    number = config.get("num_ln_in_parallel_attn")
    return 2 if number is None else number


def _impossible(config: SourceConfig, name: str, needed: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"In {config.origin}, '{name}' is {config.get(name)!r}, with which transformers cannot run "
        f"a model of this architecture ('new_decoder_architecture' is "
        f"{config.get('new_decoder_architecture', False)!r}). It must be {needed}."
    )
