"""dots.llm1: normalized queries and keys, and experts chosen as in DeepSeek-V3."""

from forgather_convert import WINDOWS, DeepseekExperts, without


class Dots1(DeepseekExperts):
    """dots.llm1."""

    model_type = "dots1"
    hf_model = "Dots1ForCausalLM"
    tokenizer_class = "Qwen2Tokenizer"
    hyperparameters = DeepseekExperts.hyperparameters + without(WINDOWS, "use_sliding_window")
    components = {**DeepseekExperts.components, "attention": "qk_norm_attention:QKNormAttention"}
