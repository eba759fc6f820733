"""Gemma: the standard decoder with zero-centred norms and scaled embeddings."""

from forgather_convert import STANDARD, HFConverter


class Gemma(HFConverter):
    """Gemma 1, CodeGemma and the models that share their architecture."""

    model_type = "gemma"
    hf_model = "GemmaForCausalLM"
    tokenizer_class = "GemmaTokenizer"
    hyperparameters = STANDARD + ("attention_bias",)
    unsupported = {
        "use_bidirectional_attention": "A Forgather model attends to the past only.",
    }
    components = {
        "embedding": "token_embedding:ScaledTokenEmbedding",
        "norm": "rms_norm:ZeroCenteredRMSNorm",
    }
