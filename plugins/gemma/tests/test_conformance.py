"""Every model type of this line passes the standard tests."""

import pytest

from forgather_convert.testing import CompositeConformance, ConverterConformance
from forgather_convert_gemma.gemma import Gemma
from forgather_convert_gemma.gemma2 import Gemma2
from forgather_convert_gemma.gemma3 import Gemma3
from forgather_convert_gemma.gemma3_text import Gemma3Text
from forgather_convert_gemma.gemma3n import Gemma3n
from forgather_convert_gemma.gemma3n_text import Gemma3nText
from forgather_convert_gemma.gemma4 import Gemma4
from forgather_convert_gemma.gemma4_text import Gemma4Text


class TestGemma(ConverterConformance):
    converter_class = Gemma


class TestGemma2(ConverterConformance):
    converter_class = Gemma2


class TestGemma3Text(ConverterConformance):
    converter_class = Gemma3Text


class TestGemma3nText(ConverterConformance):
    converter_class = Gemma3nText


class TestGemma4Text(ConverterConformance):
    converter_class = Gemma4Text


class TestGemma3(CompositeConformance):
    converter_class = Gemma3
    whole = {
        "vision_config": {
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
            "model_type": "siglip_vision_model",
        },
        "mm_tokens_per_image": 4,
        "boi_token_index": 2,
        "eoi_token_index": 3,
        "image_token_index": 4,
    }


class TestGemma3n(CompositeConformance):
    converter_class = Gemma3n
    whole = {
        "vision_config": {
            "hidden_size": 32,
            "architecture": "test_efficientnet",
            "vocab_size": 4,
            "vocab_offset": 160,
            "label_names": ["one", "other"],
            "model_type": "gemma3n_vision",
        },
        "audio_config": {
            "hidden_size": 32,
            "input_feat_size": 16,
            "vocab_size": 4,
            "vocab_offset": 164,
            "conf_num_hidden_layers": 1,
            "conf_num_attention_heads": 2,
            "sscp_conv_channel_size": [4, 4],
            "model_type": "gemma3n_audio",
        },
        "boi_token_id": 2,
        "eoi_token_id": 3,
        "image_token_id": 160,
        "boa_token_id": 2,
        "eoa_token_id": 3,
        "audio_token_id": 164,
    }

    @pytest.fixture(autouse=True)
    def _has_image_models(self) -> None:
        pytest.importorskip("timm")


class TestGemma4(CompositeConformance):
    converter_class = Gemma4
    whole = {
        "vision_config": {
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "patch_size": 4,
            "position_embedding_size": 16,
            "model_type": "gemma4_vision",
        },
        "audio_config": None,
        "boi_token_id": 2,
        "eoi_token_id": 3,
        "image_token_id": 4,
        "video_token_id": 4,
        "audio_token_id": 4,
    }
