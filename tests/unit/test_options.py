"""Options that cannot be, found before anything is read."""

from pathlib import Path
from typing import Any

import pytest

from forgather_convert import ConvertOptions, OptionError
from forgather_convert.logit_check.device import check_device
from forgather_convert.options import parse_size
from support.command import forgather

pytestmark = pytest.mark.version_independent


@pytest.mark.parametrize("prompt", ["", "   ", "\n\t ", "x" * 10_001, "half \udcff"])
def test_prompt_without_a_text(prompt: str) -> None:
    with pytest.raises(OptionError, match="prompt"):
        ConvertOptions(prompt=prompt)


def test_longest_prompt() -> None:
    ConvertOptions(prompt="x" * 10_000)


@pytest.mark.parametrize(
    "options",
    [
        {"max_length": 2**31},
        {"max_length": 10**400},
        {"pad_vocab_to_multiple_of": 10**12},
        {"max_shard_size": 2**63},
    ],
    ids=str,
)
def test_number_that_is_too_large(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="must be from 1 to"):
        ConvertOptions(**options)


@pytest.mark.parametrize("text", ["9" * 400 + "GB", "9999999999TB"])
def test_size_that_no_file_has(text: str) -> None:
    with pytest.raises(OptionError, match="than any file can be"):
        parse_size(text)


@pytest.mark.parametrize("name", ["meta", "abacus", "", "xla", "cuda:99", "hpu", "vulkan", "lazy"])
def test_device_that_cannot_compute(name: str) -> None:
    with pytest.raises(OptionError, match=r"cannot be used.*--device cpu"):
        check_device(name)


def test_device_that_can() -> None:
    check_device("cpu")


def test_empty_prompt_on_the_command_line(tmp_path: Path) -> None:
    ended = forgather("convert", tmp_path, tmp_path / "out", "--prompt", "")
    assert ended.returncode == 1
    assert "ERROR: The prompt is empty" in ended.stderr
