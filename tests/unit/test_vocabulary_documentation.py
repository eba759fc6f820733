"""The token files in the documentation are ones that the tool reads."""

import re
from pathlib import Path

import pytest

from forgather_convert.vocabulary.token_file import read_token_file

pytestmark = pytest.mark.version_independent

_PAGE = Path(__file__).parents[2] / "docs" / "vocabulary.md"
_BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", _PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def test_there_are_examples() -> None:
    """Or the test below would pass for a page that lost them."""
    assert len(_BLOCKS) >= 2


@pytest.mark.parametrize("block", _BLOCKS)
def test_every_example_is_read(block: str, tmp_path: Path) -> None:
    path = tmp_path / "tokens.yaml"
    path.write_text(block, encoding="utf-8")
    assert read_token_file(path)


def test_every_key_and_every_init_is_described() -> None:
    text = _PAGE.read_text("utf-8")
    for word in ("bos_token", "eos_token", "pad_token", "unk_token", "special_tokens"):
        assert f"`{word}`" in text
    for word in ("regular_tokens", "if_missing", "zero", "mean", "subwords"):
        assert f"`{word}`" in text
    assert "`{copy: " in text
    assert "`{average_of: " in text
