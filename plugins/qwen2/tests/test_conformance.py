"""Every model type of this line passes the standard tests."""

from forgather_convert.testing import CompositeConformance, ConverterConformance
from forgather_convert_qwen2.qwen2 import Qwen2
from forgather_convert_qwen2.qwen2_5_vl import Qwen25VL
from forgather_convert_qwen2.qwen2_moe import Qwen2Moe
from forgather_convert_qwen2.qwen2_vl import Qwen2VL


class TestQwen2(ConverterConformance):
    converter_class = Qwen2


class TestQwen2Moe(ConverterConformance):
    converter_class = Qwen2Moe


class TestQwen25VL(CompositeConformance):
    converter_class = Qwen25VL
    whole = {
        "vision_config": {
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "out_hidden_size": 64,
            "window_size": 28,
            "fullatt_block_indexes": [1],
            "model_type": "qwen2_5_vl",
        },
        "image_token_id": 2,
        "video_token_id": 3,
        "vision_start_token_id": 4,
        "vision_end_token_id": 1,
    }


class TestQwen2VL(CompositeConformance):
    converter_class = Qwen2VL
    whole = {
        "vision_config": {
            "depth": 2,
            "embed_dim": 32,
            "hidden_size": 64,
            "num_heads": 2,
            "model_type": "qwen2_vl",
        },
        "image_token_id": 2,
        "video_token_id": 3,
        "vision_start_token_id": 4,
        "vision_end_token_id": 1,
    }
