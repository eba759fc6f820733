"""Every model type of this line passes the standard tests."""

from forgather_convert.testing import CompositeConformance, ConverterConformance
from forgather_convert_mistral.ministral import Ministral
from forgather_convert_mistral.ministral3 import Ministral3
from forgather_convert_mistral.mistral import Mistral
from forgather_convert_mistral.mistral3 import Mistral3
from forgather_convert_mistral.mixtral import Mixtral


class TestMistral(ConverterConformance):
    converter_class = Mistral


class TestMinistral(ConverterConformance):
    converter_class = Ministral


class TestMinistral3(ConverterConformance):
    converter_class = Ministral3


class TestMixtral(ConverterConformance):
    converter_class = Mixtral


class TestMistral3(CompositeConformance):
    converter_class = Mistral3
    whole = {
        "vision_config": {
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
            "model_type": "pixtral",
        },
        "image_token_index": 4,
    }
