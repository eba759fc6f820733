"""The tokens of a check."""

import logging

import pytest
from transformers import PretrainedConfig

from forgather_convert.logit_check.prompts import choose_ids, tokens_of_text
from support.log import logged

ALL = range(100)


def warnings(source: list[int], result: list[int], tokens: object = ALL) -> list[str]:
    with logged(logging.WARNING) as messages:
        assert choose_ids(source, result, tokens) == source  # type: ignore[arg-type]
    return messages


def test_the_same_tokens_are_taken() -> None:
    assert warnings([1, 2, 3], [1, 2, 3]) == []


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ([1, 5, 3], "token 1 is id 2 in the source and id 5 in the result"),
        ([1, 2], "token 2 is id 3 in the source and missing in the result"),
        ([1, 2, 3, 4], "token 3 is missing in the source and id 4 in the result"),
    ],
)
def test_first_difference_is_named(result: list[int], expected: str) -> None:
    (warning,) = warnings([1, 2, 3], result)
    assert expected in warning


def test_new_tokens_are_expected() -> None:
    assert warnings([1, 2, 3], [1, 100], ALL) == []
    assert warnings([1, 2, 3], [1, 4, 3], (1, 2, 3)) == []


@pytest.mark.parametrize("source", [None, [], [1, 100], [-1]])
def test_fixed_ids_where_the_prompt_has_none(source: list[int] | None) -> None:
    found = choose_ids(source, source, ALL)
    assert len(found) == 32
    assert set(found) <= set(ALL)


def test_fixed_ids_are_shared_tokens() -> None:
    assert set(choose_ids(None, None, (3, 5, 8))) == {3, 5, 8}


def test_other_tokenizer_does_not_matter_where_one_is_missing() -> None:
    assert choose_ids([1], None, ALL) == [1]
    assert len(choose_ids(None, [1], ALL)) == 32


def test_tokens_of_images_and_sound_are_left_out() -> None:
    parts = {"vision_config": 90, "audio_config": 95}
    whole = PretrainedConfig()
    for name, offset in parts.items():
        setattr(whole, name, PretrainedConfig(vocab_offset=offset))
    configs = PretrainedConfig(), whole
    assert tokens_of_text(ALL, configs) == range(90)
    assert tokens_of_text((1, 5, 90, 99), configs) == (1, 5)
    assert tokens_of_text(ALL, configs[:1]) == ALL
