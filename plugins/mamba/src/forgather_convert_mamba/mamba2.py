"""Mamba 2: state spaces, and neither attention nor feed-forward blocks."""

from collections.abc import Mapping
from typing import Any

from forgather_convert import HFConverter, SourceConfig


class Mamba2(HFConverter):
    """Mamba 2 and Codestral Mamba."""

    model_type = "mamba2"
    hf_model = "Mamba2ForCausalLM"
    tokenizer_class = "GPTNeoXTokenizerFast"
    has_rope = False
    # Before, a model's argument for the cache had a name of its own.
    needs_transformers = "5.24"
    hyperparameters = (
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "num_heads",
        "head_dim",
        "state_size",
        "n_groups",
        "expand",
        "conv_kernel",
        "chunk_size",
        "hidden_act",
        "use_bias",
        "use_conv_bias",
        "layer_norm_epsilon",
        "initializer_range",
        "rescale_prenorm_residual",
        "residual_in_fp32",
        "time_step_rank",
        "time_step_min",
        "time_step_max",
        "time_step_floor",
        "time_step_limit",
        "use_cache",
        "tie_word_embeddings",
        "bos_token_id",
        "eos_token_id",
        "pad_token_id",
    )
    hf_layers = "backbone.layers"
    layer_weights = {
        "norm": "norm",
        "mixer.conv1d": "mixer.conv1d",
        "mixer.in_proj": "mixer.in_proj",
        "mixer.norm": "mixer.norm",
        "mixer.out_proj": "mixer.out_proj",
    }
    layer_tensors = {
        "mixer.A_log": "mixer.A_log",
        "mixer.D": "mixer.D",
        "mixer.dt_bias": "mixer.dt_bias",
    }
    model_weights = {
        "backbone.embeddings": "causal_lm.input_encoder.embedding.word_embedding",
        "backbone.norm_f": "causal_lm.layer_stack.layer_norm",
    }
    components = {
        "embedding": "token_embedding:UnpaddedTokenEmbedding",
        "positional_encoding": "no_positional_encoding:NoPositionalEncoding",
        "layer": "mamba_block:MambaBlock",
        "mixer": "mamba2_mixer:StateSpace",
        "head": "wide_head:WideHead",
    }

    def own_hyperparameters(self, config: SourceConfig) -> Mapping[str, Any]:
        return {"layer_types": ["linear_attention"] * config.num_hidden_layers}
