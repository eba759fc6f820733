"""OLMo: the standard decoder with norms without weights and a rotation in float32."""

from collections.abc import Mapping
from typing import Any

from forgather_convert import STANDARD, HFConverter, RopeParameters, without
from forgather_convert_olmo.rope_fields import two_key_rope_fields


class Olmo(HFConverter):
    """The first OLMo models."""

    model_type = "olmo"
    hf_model = "OlmoForCausalLM"
    tokenizer_class = "PreTrainedTokenizerFast"
    hyperparameters = without(STANDARD, "rms_norm_eps") + ("attention_bias", "clip_qkv")
    components = {
        "attention": "clipped_attention:ClippedAttention",
        "norm": "bare_layer_norm:BareLayerNorm",
        "positional_encoding": "rotary_embedding:WideRotaryEmbedding",
    }

    def get_rope_fields(self, rope: RopeParameters) -> Mapping[str, Any]:
        return two_key_rope_fields(rope)
