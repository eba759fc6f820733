"""Gemma 3, text: sandwich norms, normalized heads, and RoPE and windows by kind of layers."""

from .gemma2 import Gemma2


class Gemma3Text(Gemma2):
    """The text models of Gemma 3."""

    model_type = "gemma3_text"
    hf_model = "Gemma3ForCausalLM"
    hyperparameters = (*Gemma2.hyperparameters, "rope_local_base_freq")
    components = {**Gemma2.components, "attention": "qk_norm_attention:QKNormAttention"}
