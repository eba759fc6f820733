"""The check that every refusal says what to do can fail."""

import pytest

from support.refusals import assert_helps

pytestmark = pytest.mark.version_independent


@pytest.mark.parametrize(
    "message",
    [
        "Use of the source: it cannot be read.",
        "/a/hf is not a directory.",
        "The source must be one that somebody can load, and needs weights.",
        "The checkpoint Delete is damaged. Nothing was written.",
    ],
)
def test_a_message_without_advice_is_found(message: str) -> None:
    with pytest.raises(AssertionError, match="does not say what to do"):
        assert_helps(message)


@pytest.mark.parametrize(
    "message",
    [
        "/a/hf is not a directory. Give the directory of a model.",
        "'hidden_size' is 64.0; it must be a whole number.",
    ],
)
def test_a_message_with_advice_passes(message: str) -> None:
    assert_helps(message)
