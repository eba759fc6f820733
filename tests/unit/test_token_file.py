"""The schema of ``--add-tokens`` files, and its messages."""

from pathlib import Path

import pytest

from forgather_convert.errors import OptionError
from forgather_convert.vocabulary.requests import Init, InitKind, Role
from forgather_convert.vocabulary.token_file import read_token_file

pytestmark = pytest.mark.version_independent


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "tokens.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_all_forms_are_read(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
bos_token: "<|begin|>"
eos_token:
  token: "<|end|>"
  init: mean
pad_token:
  token: "<|pad|>"
  init: zero
  if_missing: true
special_tokens:
  - "<|im_start|>"
  - token: "<|tool|>"
    init: {copy: "<s>"}
regular_tokens:
  - word
  - {token: other, init: {average_of: [a, b]}}
  - {token: third, init: subwords}
""",
    )
    requests = {request.token: request for request in read_token_file(path)}
    assert [request.role for request in requests.values()] == [
        Role.BOS,
        Role.EOS,
        Role.PAD,
        *[Role.SPECIAL] * 2,
        *[Role.REGULAR] * 3,
    ]
    assert requests["<|begin|>"].init is None
    assert requests["<|end|>"].init == Init(InitKind.MEAN)
    assert requests["<|pad|>"].if_missing
    assert requests["<|tool|>"].init == Init(InitKind.COPY, ("<s>",))
    assert requests["other"].init == Init(InitKind.AVERAGE_OF, ("a", "b"))
    assert requests["third"].init == Init(InitKind.SUBWORDS)
    assert requests["word"].origin == f"{path}:15"


def test_two_names_may_share_a_token(tmp_path: Path) -> None:
    requests = read_token_file(write(tmp_path, "eos_token: <end>\npad_token: <end>\n"))
    assert [request.role for request in requests] == [Role.EOS, Role.PAD]
    text = "eos_token: {token: <end>, init: {copy: a}}\npad_token: <end>\n"
    assert len(read_token_file(write(tmp_path, text))) == 2


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("pad_token: <p>\nbos_tokn: <b>\n", 2, "unknown key 'bos_tokn'. Did you mean 'bos_token'?"),
        ("pad_token:\n  token: <p>\n  inti: zero\n", 3, "unknown key 'inti'. Did you mean 'init'?"),
        ("pad_token: <p>\nxyz: 1\n", 2, "unknown key 'xyz'. Known keys: bos_token, eos_token, "),
        ("pad_token:\n  token: <p>\n  init: random\n", 3, "'random' is not an init"),
        ("pad_token:\n  token: <p>\n  init: {clone: x}\n", 3, "an init is one of"),
        ("pad_token:\n  token: <p>\n  init: {copy: [a]}\n", 3, "'copy' takes one token"),
        ("pad_token:\n  token: <p>\n  init: {average_of: []}\n", 3, "takes a list of tokens"),
        ("pad_token:\n  token: <p>\n  init: {average_of: [1]}\n", 3, "valid string"),
        ("special_tokens:\n  - ok\n  - 7\n", 3, "a token is a string"),
        ("special_tokens: word\n", 1, "special_tokens: input should be a valid list"),
        ("pad_token: 3\n", 1, "pad_token: a token is a string"),
        ("pad_token:\n  token: 3\n", 2, "valid string"),
        ("pad_token:\n  init: zero\n", 1, "pad_token.token: field required"),
        ("pad_token:\n  token: <p>\n  if_missing: maybe\n", 3, "valid boolean"),
        ('pad_token: ""\n', 1, "a token must not be empty"),
        ('regular_tokens:\n  - a\n  - ""\n', 3, "a token must not be empty"),
        ("regular_tokens: [a, b]\nspecial_tokens:\n  - c\n  - a\n", 1, "'a' is given twice"),
        ("special_tokens:\n  - c\n  - c\n", 3, "'c' is given twice"),
        ("pad_token: a\npad_token: b\n", 2, "the key 'pad_token' is given twice"),
        ("pad_token: [unclosed\n", 2, "invalid YAML"),
        ("pad_token: a\n? [b]\n: c\n", 2, "a key must be a word"),
        ("pad_token: a\n{{ b }}: c\n", 2, "a key must be a word"),
        ("pad_token: a\nbos_token: \x07\n", 2, "invalid YAML"),
        ("special_tokens: &all [*all]\n", 1, "is not supported; write"),
        (
            "eos_token:\n  token: a\n  init: mean\npad_token:\n  token: a\n  init: zero\n",
            4,
            "twice",
        ),
        ("- a\n- b\n", 1, "a token file is a dictionary"),
        ("", 1, "a token file is a dictionary"),
    ],
)
def test_errors_name_the_key_and_the_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(OptionError) as error:
        read_token_file(path)
    assert f"{path}:{line}: " in str(error.value)
    assert words in str(error.value)


def test_a_file_that_is_not_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "tokens.yaml"
    path.write_bytes("pad_token: <p>\nbos_token: é\n".encode("latin-1"))
    with pytest.raises(OptionError, match=r"tokens\.yaml:2: invalid YAML"):
        read_token_file(path)


def test_a_file_that_is_missing_or_names_nothing(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"cannot be read"):
        read_token_file(tmp_path / "none.yaml")
    with pytest.raises(OptionError, match="names no tokens"):
        read_token_file(write(tmp_path, "special_tokens: []\n"))
