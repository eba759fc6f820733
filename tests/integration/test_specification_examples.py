"""The token files of the specification, verbatim, through the real command line."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from support.command import forgather
from support.directories import differences
from support.tokenizers import write_byte_level_bpe
from support.vocabulary import (
    EMBEDDING,
    HF_EMBEDDING,
    config,
    edit_json,
    load_tokenizer,
    read_json,
    weights,
    write_model,
)

NEW_FORMAT = """\
# Named special tokens (optional)
bos_token: "<|begin_of_text|>"  # String format uses default init (mean)
eos_token:                       # Dict format allows custom init
  token: "<|end_of_text|>"
  init: "mean"
pad_token:
  token: "<|pad|>"
  init: "zero"
  if_missing: true               # Only add if not already set
unk_token: "<|unknown|>"

# Additional special tokens (optional)
special_tokens:
  - "<|im_start|>"
  - "<|im_end|>"

# Regular tokens (optional)
regular_tokens:
  - "custom_token_1"
  - "custom_token_2"
"""
OLD_FORMAT = """\
special_tokens:
  - "<|im_start|>"
regular_tokens:
  - "custom_token_1"
"""
QWEN3_BOS = """\
bos_token: "<|begin_of_text|>"
"""
CUSTOM_PAD = """\
pad_token:
  token: "<|padding|>"
  init: "zero"
"""
TOKENS = """\
bos_token: "<|begin|>"
eos_token: "<|end|>"
special_tokens:
  - "<|im_start|>"
  - "<|im_end|>"
"""
REPLACE_PAD = """\
pad_token: "<|pad|>"  # Will replace [PAD] if it exists
"""
PAD_IF_MISSING = """\
pad_token:
  token: "<|pad|>"
  if_missing: true  # Only add if not already set
"""
CUSTOM_TOKENS = """\
special_tokens:
  - "<|im_start|>"
  - "<|im_end|>"
  - "<|tool_call|>"

regular_tokens:
  - "custom_token_1"
  - "custom_token_2"
"""


@dataclass(frozen=True)
class Converted:
    """A source, its conversion, and what the command said about it."""

    source: Path
    result: Path
    report: dict[str, Any]

    @property
    def tokens(self) -> list[tuple[str, str, str, str]]:
        """Token, role, action and init of every row of the table."""
        return [
            (row["token"], row["role"], row["action"], row["init"])
            for row in self.report["vocabulary"]["tokens"]
        ]

    def row(self, token: str) -> torch.Tensor:
        """A token's row in the result's embedding; the head's is held to the same rule."""
        return weights(self.result)[EMBEDDING][self.tokenizer.convert_tokens_to_ids(token)]

    @property
    def tokenizer(self) -> Any:
        return load_tokenizer(self.result)

    @property
    def mean(self) -> torch.Tensor:
        return weights(self.source)[HF_EMBEDDING].mean(dim=0)


@pytest.fixture(scope="module")
def without_padding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Qwen3 whose tokenizer has no padding token. Not to be changed."""
    directory = tmp_path_factory.mktemp("models") / "qwen3"
    return write_model(directory, write_byte_level_bpe, "qwen3-untied")


@pytest.fixture(scope="module")
def with_padding(tmp_path_factory: pytest.TempPathFactory, without_padding: Path) -> Path:
    """The same with ``[PAD]``, as a default conversion and its reverse give it."""
    root = tmp_path_factory.mktemp("padded")
    for source, destination in ((without_padding, root / "fg"), (root / "fg", root / "hf")):
        result = forgather("convert", "--no-logit-check", source, destination)
        assert result.returncode == 0, result.stderr
    return root / "hf"


def add_tokens(source: Path, directory: Path, yaml: str, *options: str) -> Converted:
    """Runs ``forgather convert --add-tokens`` with a file of this content."""
    path = directory / "tokens.yaml"
    path.write_text(yaml)
    result = directory / "fg"
    done = forgather("convert", "--json", *options, "--add-tokens", path, source, result)
    assert done.returncode == 0, done.stderr
    converted = Converted(source, result, json.loads(done.stdout))
    old, new = weights(source)[HF_EMBEDDING], weights(result)[EMBEDDING]
    assert torch.equal(new[: len(old)], old)
    assert config(result)["vocab_size"] == len(new) == converted.report["vocabulary"]["size"]
    return converted


def test_qwen3_bos(without_padding: Path, tmp_path: Path) -> None:
    """Qwen3 has no token for the beginning, which packed documents need."""
    source = tmp_path / "hf"
    source.mkdir()
    for path in without_padding.iterdir():
        (source / path.name).write_bytes(path.read_bytes())
    edit_json(source / "tokenizer_config.json", bos_token=None)
    if (source / "special_tokens_map.json").exists():
        edit_json(source / "special_tokens_map.json", ("bos_token",))
    assert load_tokenizer(source).bos_token is None

    converted = add_tokens(source, tmp_path, QWEN3_BOS)
    size = len(load_tokenizer(source))
    assert converted.tokens == [("<|begin_of_text|>", "bos_token", "added", "mean")]
    assert converted.tokenizer.bos_token_id == size
    assert config(converted.result)["bos_token_id"] == size
    assert read_json(converted.result / "generation_config.json")["bos_token_id"] == size
    assert torch.equal(converted.row("<|begin_of_text|>"), converted.mean)
    # A token file takes the place of the default: no [PAD].
    assert converted.tokenizer.pad_token is None


def test_custom_pad(without_padding: Path, tmp_path: Path) -> None:
    converted = add_tokens(without_padding, tmp_path, CUSTOM_PAD)
    assert converted.tokens == [("<|padding|>", "pad_token", "added", "zero")]
    assert converted.tokenizer.pad_token == "<|padding|>"
    assert config(converted.result)["pad_token_id"] == converted.tokenizer.pad_token_id
    assert not converted.row("<|padding|>").any()
    assert not weights(converted.result)["lm_head.weight"][-1].any()


def test_tokens(without_padding: Path, tmp_path: Path) -> None:
    """Named and special tokens in one file."""
    converted = add_tokens(without_padding, tmp_path, TOKENS, "-g")
    size = len(load_tokenizer(without_padding))
    names = ["<|begin|>", "<|end|>", "<|im_start|>", "<|im_end|>"]
    assert converted.tokens == [
        ("<|begin|>", "bos_token", "added", "mean"),
        ("<|end|>", "eos_token", "added", "mean"),
        ("<|im_start|>", "special_tokens", "added", "mean"),
        ("<|im_end|>", "special_tokens", "added", "mean"),
    ]
    tokenizer = converted.tokenizer
    assert tokenizer.convert_tokens_to_ids(names) == [*range(size, size + 4)]
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<|begin|>", "<|end|>")
    # The model ends in two ways; the one that was the tokenizer's is exchanged.
    assert config(converted.result)["eos_token_id"] == [size + 1, 3]
    for name in names:
        assert torch.equal(converted.row(name), converted.mean)
    ids = tokenizer("The<|im_start|>river")["input_ids"]
    assert ids[0] == size
    assert tokenizer.decode(ids, skip_special_tokens=True) == "Theriver"
    assert converted.report["generation"]["token_ids"]


def test_replace_pad(with_padding: Path, tmp_path: Path) -> None:
    converted = add_tokens(with_padding, tmp_path, REPLACE_PAD)
    assert converted.tokens == [("<|pad|>", "pad_token", "added", "zero")]
    assert converted.report["vocabulary"]["tokens"][0]["replaced"] == "[PAD]"
    assert converted.tokenizer.pad_token == "<|pad|>"
    # The old one stays a token, and ids do not move.
    old = load_tokenizer(with_padding)
    assert converted.tokenizer.convert_tokens_to_ids("[PAD]") == old.pad_token_id
    assert converted.tokenizer.pad_token_id == old.pad_token_id + 1

    # Now it exists, and is replaced by one that exists: only the pointer moves.
    again = tmp_path / "again"
    again.mkdir()
    done = forgather("convert", "--no-logit-check", converted.result, again / "hf")
    assert done.returncode == 0, done.stderr
    back = add_tokens(again / "hf", again, 'pad_token: "[PAD]"\n')
    assert back.tokens == [("[PAD]", "pad_token", "moved", "unchanged")]
    assert back.tokenizer.pad_token_id == old.pad_token_id
    assert back.report["vocabulary"]["size"] == back.report["vocabulary"]["size_before"]


def test_pad_if_missing(without_padding: Path, with_padding: Path, tmp_path: Path) -> None:
    (tmp_path / "missing").mkdir()
    missing = add_tokens(without_padding, tmp_path / "missing", PAD_IF_MISSING)
    assert missing.tokens == [("<|pad|>", "pad_token", "added", "zero")]
    assert missing.tokenizer.pad_token == "<|pad|>"

    (tmp_path / "present").mkdir()
    present = add_tokens(with_padding, tmp_path / "present", PAD_IF_MISSING)
    assert present.tokens == [("[PAD]", "pad_token", "kept", "unchanged")]
    assert present.tokenizer.pad_token == "[PAD]"
    assert "<|pad|>" not in present.tokenizer.get_vocab()


def test_new_format(without_padding: Path, tmp_path: Path) -> None:
    """The file that shows everything at once."""
    converted = add_tokens(without_padding, tmp_path, NEW_FORMAT)
    assert converted.tokens == [
        ("<|begin_of_text|>", "bos_token", "added", "mean"),
        ("<|end_of_text|>", "eos_token", "added", "mean"),
        ("<|pad|>", "pad_token", "added", "zero"),
        ("<|unknown|>", "unk_token", "added", "mean"),
        ("<|im_start|>", "special_tokens", "added", "mean"),
        ("<|im_end|>", "special_tokens", "added", "mean"),
        ("custom_token_1", "regular_tokens", "added", "mean"),
        ("custom_token_2", "regular_tokens", "added", "mean"),
    ]
    tokenizer = converted.tokenizer
    for token, *_ in converted.tokens:
        ids = tokenizer(token, add_special_tokens=False)["input_ids"]
        assert ids == [tokenizer.convert_tokens_to_ids(token)]
    assert tokenizer.unk_token == "<|unknown|>"


@pytest.mark.parametrize(("yaml", "count"), [(OLD_FORMAT, 2), (CUSTOM_TOKENS, 5)])
def test_old_format(yaml: str, count: int, without_padding: Path, tmp_path: Path) -> None:
    converted = add_tokens(without_padding, tmp_path, yaml)
    assert len(converted.tokens) == count
    for token, role, action, init in converted.tokens:
        assert role == ("special_tokens" if token.startswith("<|") else "regular_tokens")
        assert (action, init) == ("added", "mean")
        assert torch.equal(converted.row(token), converted.mean)
    decoded = converted.tokenizer("<|im_start|>custom_token_1")["input_ids"]
    text = converted.tokenizer.decode(decoded, skip_special_tokens=True)
    assert text.strip() == "custom_token_1"


def test_skip_default_tokens(without_padding: Path, tmp_path: Path) -> None:
    """Complete control: nothing is added, and the reverse conversion gives the source."""
    for options, source, result in (
        (("--skip-default-tokens",), without_padding, tmp_path / "fg"),
        ((), tmp_path / "fg", tmp_path / "hf"),
    ):
        done = forgather("convert", "--no-logit-check", *options, source, result)
        assert done.returncode == 0, done.stderr
        assert "Vocabulary" not in done.stderr
    assert load_tokenizer(tmp_path / "fg").pad_token is None
    assert differences(without_padding, tmp_path / "hf") == []
