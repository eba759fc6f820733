"""Files of the user that stand for more than they hold, or that YAML itself fails on."""

from pathlib import Path

import pytest

from forgather_convert.errors import OptionError
from forgather_convert.vocabulary.chat_template import read_template
from forgather_convert.vocabulary.token_file import read_token_file

pytestmark = pytest.mark.version_independent

BOMB = "a0: &a0 [x, x]\n" + "".join(
    f"a{level}: &a{level} [*a{level - 1}, *a{level - 1}]\n" for level in range(1, 40)
)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (BOMB, 2, "the alias '*a0' is not supported"),
        ("special_tokens: &all [*all]", 1, "the alias '*all' is not supported"),
        ("pad_token: &p {token: a}\neos_token: {<<: *p}", 2, "the alias '*p' is not supported"),
        ("\nspecial_tokens: " + "[" * 100_000, 2, "nested too deeply"),
        ("\npad_token: " + "{a: " * 100_000, 2, "nested too deeply"),
        ("\npad_token: 2001-99-99", 2, "'2001-99-99' is not a YAML timestamp"),
        ("special_tokens:\n  - !!int ''", 2, "'' is not a YAML int"),
        ("special_tokens:\n  - !!bool odd", 2, "'odd' is not a YAML bool"),
        ("special_tokens:\n  - !!timestamp odd", 2, "'odd' is not a YAML timestamp"),
        ("special_tokens:\n  - 1" + "0" * 5000, 2, "is not a YAML int"),
        ('special_tokens:\n  - "\\U00110000"', 2, "invalid YAML"),
        ('special_tokens:\n  - "\\ud800"', 2, "unicode"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else None,
)
def test_errors_with_their_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    path = tmp_path / "tokens.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(OptionError) as error:
        read_token_file(path)
    assert f"{path}:{line}: " in str(error.value)
    assert words in str(error.value)


def test_larger_than_any(tmp_path: Path) -> None:
    path = tmp_path / "tokens.yaml"
    with path.open("wb") as file:
        file.truncate(300 << 20)
    with pytest.raises(OptionError, match="larger than 8 MiB"):
        read_token_file(path)


def test_without_end() -> None:
    with pytest.raises(OptionError, match="larger than 8 MiB"):
        read_token_file(Path("/dev/zero"))


def test_template_without_end() -> None:
    with pytest.raises(OptionError, match="larger than 8 MiB"):
        read_template(Path("/dev/zero"))
