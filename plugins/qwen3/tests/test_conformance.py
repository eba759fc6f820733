"""Every model type of this line passes the standard tests."""

from forgather_convert.testing import CompositeConformance, ConverterConformance
from forgather_convert_qwen3.qwen3 import Qwen3
from forgather_convert_qwen3.qwen3_5 import Qwen3_5
from forgather_convert_qwen3.qwen3_5_moe import Qwen3_5Moe
from forgather_convert_qwen3.qwen3_5_moe_text import Qwen3_5MoeText
from forgather_convert_qwen3.qwen3_5_text import Qwen3_5Text
from forgather_convert_qwen3.qwen3_moe import Qwen3Moe
from forgather_convert_qwen3.qwen3_next import Qwen3Next
from forgather_convert_qwen3.qwen3_vl import Qwen3VL


class TestQwen3(ConverterConformance):
    converter_class = Qwen3


class TestQwen3Moe(ConverterConformance):
    converter_class = Qwen3Moe


class TestQwen3Next(ConverterConformance):
    converter_class = Qwen3Next


class TestQwen3_5Text(ConverterConformance):  # noqa: N801 - its name
    converter_class = Qwen3_5Text


class TestQwen3_5MoeText(ConverterConformance):  # noqa: N801 - its name
    converter_class = Qwen3_5MoeText


_VISION = {
    "depth": 2,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_heads": 2,
    "out_hidden_size": 64,
    "num_position_embeddings": 16,
}
_IMAGE_TOKENS = {
    "image_token_id": 2,
    "video_token_id": 3,
    "vision_start_token_id": 4,
    "vision_end_token_id": 1,
}


class TestQwen3VL(CompositeConformance):
    converter_class = Qwen3VL
    whole = {
        "vision_config": {
            **_VISION,
            "deepstack_visual_indexes": [0],
            "model_type": "qwen3_vl",
        },
        **_IMAGE_TOKENS,
    }


class TestQwen3_5(CompositeConformance):  # noqa: N801 - its name
    converter_class = Qwen3_5
    whole = {"vision_config": {**_VISION, "model_type": "qwen3_5_vision"}, **_IMAGE_TOKENS}


class TestQwen3_5Moe(CompositeConformance):  # noqa: N801 - its name
    converter_class = Qwen3_5Moe
    whole = {"vision_config": {**_VISION, "model_type": "qwen3_5_moe_vision"}, **_IMAGE_TOKENS}
