"""The training step with which a converter is checked."""

import pytest

from forgather_convert.converter_tools.tiny_models import tiny_cases
from forgather_convert.converter_tools.training_step import check_use
from forgather_convert.families.converter import HFConverter
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert_falcon.falcon import Falcon
from forgather_convert_gpt.gpt2 import GPT2


@pytest.mark.parametrize("converter_class", [GPT2, Falcon])
def test_the_layout_of_a_cache_makes_no_difference(converter_class: type[HFConverter]) -> None:
    """Keys and values of these are parts of larger tensors, unless a cache has copied them."""
    hooks = FamilyHooks(converter_class(), "test")
    (*_, make_config) = tiny_cases(hooks).values()
    assert "identical weights after a step" in check_use(hooks, make_config())
