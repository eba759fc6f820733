"""Every model type of this line passes the standard tests."""

import pytest
import transformers

from forgather_convert.testing import CompositeConformance, ConverterConformance
from forgather_convert_llama.arcee import Arcee
from forgather_convert_llama.cwm import Cwm
from forgather_convert_llama.llama import Llama
from forgather_convert_llama.llama4 import Llama4
from forgather_convert_llama.llama4_text import Llama4Text
from forgather_convert_llama.llava import Llava


class TestLlama(ConverterConformance):
    converter_class = Llama


class TestArcee(ConverterConformance):
    converter_class = Arcee


class TestCwm(ConverterConformance):
    converter_class = Cwm


class TestLlama4Text(ConverterConformance):
    converter_class = Llama4Text


class TestLlava(CompositeConformance):
    converter_class = Llava
    whole = {
        "vision_config": {
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
            "model_type": "clip_vision_model",
        },
        "image_token_index": 4,
        "image_seq_length": 4,
    }


@pytest.mark.skipif(
    transformers.__version__.startswith("5.24."),
    reason="the class of transformers 5.24 fails for text without images",
)
class TestLlama4(CompositeConformance):
    converter_class = Llama4
    whole = {
        "vision_config": {
            "hidden_size": 32,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
            "projector_input_dim": 32,
            "projector_output_dim": 64,
            "vision_output_dim": 64,
            "pixel_shuffle_ratio": 0.5,
            "model_type": "llama4_vision_model",
        },
        "image_token_index": 5,
        "boi_token_index": 6,
        "eoi_token_index": 7,
    }
