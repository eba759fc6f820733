"""DeepSeek-V3: latent attention, and experts that are chosen in groups."""

from typing import ClassVar

from forgather_convert import DeepseekDecoder


class DeepseekV3(DeepseekDecoder):
    """DeepSeek-V3 and DeepSeek-R1."""

    model_type = "deepseek_v3"
    aliases: ClassVar[tuple[str, ...]] = ("kimi_k2",)
    hf_model = "DeepseekV3ForCausalLM"
    tokenizer_class = "LlamaTokenizer"
