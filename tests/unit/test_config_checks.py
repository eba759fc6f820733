"""What is known without transformers is what transformers knows."""

from transformers.activations import ACT2FN

from forgather_convert.families.config_checks import ACTIVATIONS


def test_known_activations_are_those_of_transformers() -> None:
    assert {*ACT2FN} >= ACTIVATIONS
