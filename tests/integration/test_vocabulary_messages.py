"""What the user of ``--add-tokens`` sees."""

import json
import logging
import shutil
from pathlib import Path

import pytest

from forgather_convert import ConvertOptions, SourceError, convert, plan
from support.command import forgather
from support.log import logged
from support.tokenizers import write_byte_level_bpe
from support.vocabulary import config, edit_json, read_json, write_model

pytestmark = pytest.mark.version_independent

YAML = """\
bos_token: <|begin|>
pad_token: </s>
special_tokens: [<unk>, <|a_long_name_for_a_token_that_needs_more_than_a_column|>]
regular_tokens: ['[bold]word[/bold]']
"""
LONG = "<|a_long_name_for_a_token_that_needs_more_than_a_column|>"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a tokenizer. Not to be changed."""
    return write_model(tmp_path_factory.mktemp("models") / "hf", write_byte_level_bpe)


def test_the_table_is_on_stderr_and_the_json_on_stdout(source: Path, tmp_path: Path) -> None:
    """Every token can be read as it is, brackets included."""
    path = tmp_path / "tokens.yaml"
    path.write_text(YAML)
    arguments = ("--json", "--add-tokens", path, source, tmp_path / "fg")
    result = forgather("convert", *arguments, COLUMNS="200")
    assert result.returncode == 0, result.stderr
    size = config(source)["vocab_size"]

    assert f"Vocabulary: {size} -> {size + 3} rows" in result.stderr
    for column in ("token", "id", "role", "action", "init"):
        assert column in result.stderr
    rows = [" ".join(line.split("│")).split() for line in result.stderr.splitlines()]
    assert ["<|begin|>", str(size), "bos_token", "added", "mean", "<s>"] in rows
    assert ["</s>", "2", "pad_token", "moved", "unchanged"] in rows
    assert ["<unk>", "0", "special_tokens", "kept", "unchanged"] in rows
    assert [LONG, str(size + 1), "special_tokens", "added", "mean"] in rows
    assert ["[bold]word[/bold]", str(size + 2), "regular_tokens", "added", "mean"] in rows
    words = "Vocab size mismatch: the source has {} tokens, the result {}"
    assert words.format(size, size + 3) in result.stderr

    vocabulary = json.loads(result.stdout)["vocabulary"]
    assert (vocabulary["size_before"], vocabulary["size"]) == (size, size + 3)
    assert vocabulary["tokens"][0] == {
        "token": "<|begin|>",
        "id": size,
        "role": "bos_token",
        "action": "added",
        "init": "mean",
        "replaced": "<s>",
    }
    assert json.loads(result.stdout)["logits"]["equal"]


@pytest.mark.parametrize("option", ["--add-tokens", "-t"])
def test_files_of_the_user_are_checked_before_anything_else(option: str, tmp_path: Path) -> None:
    """A typing error is found at once, and not after the source was looked at."""
    path = tmp_path / "file"
    path.write_text("pad_token: <|pad|>\nbos_tokn: <|begin|>\n{% endfor %}\n")
    if option == "--add-tokens":
        path.write_text("pad_token: <|pad|>\nbos_tokn: <|begin|>\n")
    result = forgather("convert", option, path, tmp_path / "nowhere", tmp_path / "fg")
    assert result.returncode == 1
    if option == "--add-tokens":
        assert f"{path}:2: unknown key 'bos_tokn'." in result.stderr
    else:
        assert f"{path} is not valid Jinja: line 3" in result.stderr
    assert "nowhere" not in result.stderr
    assert not (tmp_path / "fg").exists()


def test_a_dry_run_shows_the_tokens(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "tokens.yaml"
    path.write_text(YAML)
    arguments = ("--dry-run", "--add-tokens", path, source, tmp_path / "fg")
    result = forgather("convert", *arguments)
    assert result.returncode == 0, result.stderr
    size = config(source)["vocab_size"]
    assert f"vocabulary: {size} -> {size + 3} rows" in result.stdout
    assert f"token=<|begin|> id={size} role=bos_token action=added init=mean" in result.stdout
    assert not (tmp_path / "fg").exists()


def test_the_default_padding_token_is_no_reason_for_a_warning(tmp_path: Path) -> None:
    source = write_model(tmp_path / "hf", write_byte_level_bpe)
    with logged(level=30) as warnings:
        result = convert(source, tmp_path / "fg")
    assert warnings == []
    assert result.plan.vocabulary is not None
    assert result.plan.vocabulary.is_default


@pytest.mark.parametrize(("init", "is_said"), [("", True), (", init: zero", False)])
def test_copy_is_suggested_where_the_user_chose_no_init(
    init: str, is_said: bool, source: Path, tmp_path: Path
) -> None:
    path = tmp_path / "tokens.yaml"
    path.write_text(f"eos_token: {{token: <|end|>{init}}}\n")
    with logged() as messages:
        plan(source, tmp_path / "fg", ConvertOptions(token_file=path))
    assert any("init: {copy:" in text for text in messages) == is_said


@pytest.mark.parametrize("how", ["fails on any text", "panics"])
def test_a_tokenizer_that_does_not_work(source: Path, tmp_path: Path, how: str) -> None:
    """A panic of the Rust library is no ``Exception``."""
    broken = Path(shutil.copytree(source, tmp_path / "hf"))
    if how == "panics":
        model = read_json(broken / "tokenizer.json")["model"]
        model["continuing_subword_prefix"] = "longer than any token"
        edit_json(broken / "tokenizer.json", model=model)
    else:
        edit_json(broken / "tokenizer_config.json", model_max_length="long")
    with logged(logging.WARNING) as messages:
        convert(broken, tmp_path / "fg")
    assert any("No padding token was added" in message for message in messages)
    path = tmp_path / "tokens.yaml"
    path.write_text(YAML)
    with pytest.raises(SourceError, match="Tokens cannot be added: the tokenizer"):
        convert(broken, tmp_path / "other", ConvertOptions(token_file=path))
