"""Every model type of this line passes the standard tests."""

from forgather_convert.testing import ConverterConformance, expected_failure
from forgather_convert_falcon.falcon import Falcon
from forgather_convert_falcon.falcon_h1 import FalconH1


class TestFalcon(ConverterConformance):
    converter_class = Falcon

    test_hidden_states_with_the_attention_of_a_server = expected_failure(
        ConverterConformance.test_hidden_states_with_the_attention_of_a_server,
        reason="the class in transformers has no attention of other libraries",
    )


class TestFalconH1(ConverterConformance):
    converter_class = FalconH1
