"""``-t``: what is accepted, where it is stored, and what transformers makes of it."""

import json
from pathlib import Path

import pytest

from forgather_convert import ConvertOptions, OptionError, convert
from support.tokenizers import write_byte_level_bpe, write_sentencepiece
from support.vocabulary import edit_json, load_tokenizer, read_json, write_model

TEMPLATE = (
    "{%- for message in messages -%}\n"
    "{%- if message.role == 'system' %}{% continue %}{% endif -%}\n"
    "<|{{ message.role }}|>\n"
    "{%- if message.role == 'assistant' -%}\n"
    "{% generation %}{{ message.content }}{% endgeneration %}\n"
    "{%- else -%}{{ message.content }}{%- endif -%}\n"
    "{%- endfor -%}\n"
)
MESSAGES = [
    {"role": "system", "content": "left out"},
    {"role": "user", "content": "naïve?"},
    {"role": "assistant", "content": "Größe."},
]
TEXT = "<|user|>naïve?<|assistant|>Größe."
PLACES = ["tokenizer_config.json", "chat_template.jinja", "neither"]


def write_source(directory: Path, place: str) -> Path:
    """A model whose tokenizer has its template in one of the places."""
    source = write_model(directory, write_byte_level_bpe)
    if place == "tokenizer_config.json":
        edit_json(source / place, chat_template="old")
    elif place == "chat_template.jinja":
        (source / place).write_text("old")
    return source


def write_template(directory: Path, text: str = TEMPLATE) -> Path:
    path = directory / "mine.j2"
    path.write_bytes(text.encode())
    return path


def assert_stored(directory: Path, place: str) -> None:
    """The template is where the source had one, nowhere else, and works."""
    in_config = read_json(directory / "tokenizer_config.json").get("chat_template")
    file = directory / "chat_template.jinja"
    if place == "tokenizer_config.json":
        assert in_config == TEMPLATE
        assert not file.exists()
    else:
        assert in_config is None
        assert file.read_bytes() == TEMPLATE.encode()
    tokenizer = load_tokenizer(directory)
    assert tokenizer.apply_chat_template(MESSAGES, tokenize=False) == TEXT


@pytest.mark.parametrize("tokens", [None, "pad_token: <|pad|>\nspecial_tokens: ['<|user|>']\n"])
@pytest.mark.parametrize("place", PLACES)
def test_it_is_stored_where_the_source_has_its_own(
    place: str, tokens: str | None, tmp_path: Path
) -> None:
    """Also where new tokens change tokenizer_config.json at the same time."""
    source = write_source(tmp_path / "hf", place)
    options = ConvertOptions(
        chat_template_path=write_template(tmp_path),
        skip_default_tokens=True,
        logit_check=False,
    )
    if tokens is not None:
        path = tmp_path / "tokens.yaml"
        path.write_text(tokens)
        options = ConvertOptions(
            chat_template_path=options.chat_template_path, token_file=path, logit_check=False
        )
    convert(source, tmp_path / "fg", options)
    assert_stored(tmp_path / "fg", place)
    tokenizer = load_tokenizer(tmp_path / "fg")
    assert tokenizer.pad_token == (None if tokens is None else "<|pad|>")
    if tokens is not None:
        ids = tokenizer(TEXT)["input_ids"]
        assert tokenizer.convert_tokens_to_ids("<|user|>") in ids
    convert(tmp_path / "fg", tmp_path / "back", ConvertOptions(logit_check=False))
    assert_stored(tmp_path / "back", place)


@pytest.mark.parametrize("place", PLACES)
def test_it_can_be_given_on_the_way_back(place: str, tmp_path: Path) -> None:
    """Together with the tokens that it is made of."""
    source = write_source(tmp_path / "hf", place)
    convert(source, tmp_path / "fg", ConvertOptions(skip_default_tokens=True))
    path = tmp_path / "tokens.yaml"
    path.write_text("eos_token: <|end|>\nspecial_tokens: ['<|user|>', '<|assistant|>']\n")
    options = ConvertOptions(chat_template_path=write_template(tmp_path), token_file=path)
    convert(tmp_path / "fg", tmp_path / "back", options)
    assert_stored(tmp_path / "back", place)
    assert load_tokenizer(tmp_path / "back").eos_token == "<|end|>"


def test_a_tokenizer_of_a_single_file(tmp_path: Path) -> None:
    """Where there is no tokenizer_config.json, none is made for the template."""
    source = write_model(tmp_path / "hf", write_sentencepiece)
    (source / "tokenizer_config.json").unlink()
    options = ConvertOptions(
        chat_template_path=write_template(tmp_path), skip_default_tokens=True, logit_check=False
    )
    convert(source, tmp_path / "fg", options)
    assert not (tmp_path / "fg" / "tokenizer_config.json").exists()
    tokenizer = load_tokenizer(tmp_path / "fg")
    assert tokenizer.apply_chat_template(MESSAGES, tokenize=False) == TEXT


def test_the_default_padding_token_and_a_template(tmp_path: Path) -> None:
    """Both go into tokenizer_config.json, and neither displaces the other."""
    source = write_source(tmp_path / "hf", "tokenizer_config.json")
    convert(source, tmp_path / "fg", ConvertOptions(chat_template_path=write_template(tmp_path)))
    assert_stored(tmp_path / "fg", "tokenizer_config.json")
    assert load_tokenizer(tmp_path / "fg").pad_token == "[PAD]"


def test_the_sources_own_template_stays(tmp_path: Path) -> None:
    """New tokens rewrite tokenizer_config.json, which holds it."""
    source = write_source(tmp_path / "hf", "tokenizer_config.json")
    convert(source, tmp_path / "fg", ConvertOptions(logit_check=False))
    written = json.loads((tmp_path / "fg" / "tokenizer_config.json").read_text())
    assert (written["chat_template"], written["pad_token"]) == ("old", "[PAD]")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("{% for message in messages %}\n{{ message.content }\n{% endfor %}", 2),
        ("a\nb\n{% endif %}\n", 3),
        ("{% generation %}\n{{ message }}\n", 2),
        ("{{ 'unclosed }}\n", 1),
        ("\n\n{% frobnicate %}\n", 3),
    ],
)
def test_a_syntax_error_names_file_and_line(text: str, line: int, tmp_path: Path) -> None:
    path = write_template(tmp_path, text)
    with pytest.raises(OptionError) as error:
        convert(tmp_path / "nowhere", tmp_path / "fg", ConvertOptions(chat_template_path=path))
    assert f"{path} is not valid Jinja: line {line}" in str(error.value)
