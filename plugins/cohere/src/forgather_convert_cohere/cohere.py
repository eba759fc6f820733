"""Cohere: parallel blocks behind one layer norm, and logits with a factor."""

from typing import Any

from forgather_convert import STANDARD, HFConverter, SourceConfig, without


class Cohere(HFConverter):
    """Command R, Command R+ and Aya."""

    model_type = "cohere"
    hf_model = "CohereForCausalLM"
    tokenizer_class = "CohereTokenizerFast"
    hyperparameters = without(STANDARD, "rms_norm_eps") + (
        "layer_norm_eps",
        "logit_scale",
        "attention_bias",
        "use_qk_norm",
    )
    components = {
        "positional_encoding": "rotary_embedding:InterleavedRotaryEmbedding",
        "layer": "parallel_layer:ParallelLayer",
        "attention": "wide_interleaved_attention:WideInterleavedAttention",
        "norm": "wide_layer_norm:WideLayerNorm",
        "head": "scaled_head:ScaledHead",
    }

    def create_project_config(self, src_config: SourceConfig, max_length: int | None = None) -> Any:
        project: Any = super().create_project_config(src_config, max_length)
        if not src_config.get("use_qk_norm"):
            return project
        attention = {"attention": "head_norm_attention:HeadNormAttention"}
        return {**project, "components": {**project["components"], **attention}}
