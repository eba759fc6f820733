"""Vocabulary extension of tokenizers as different programs write them."""

import json
from pathlib import Path
from typing import Any

import pytest

from forgather_convert import ConvertOptions, SourceError, convert
from support.directories import differences
from support.log import logged
from support.models import TRANSFORMERS_MAJOR
from support.tokenizers import write_byte_level_bpe, write_sentencepiece
from support.vocabulary import (
    TEXTS,
    add_tokens,
    config,
    edit_json,
    load_tokenizer,
    read_json,
    write_model,
)


def rewrite_for_version_4(directory: Path) -> None:
    """Makes the files what transformers 4 writes: flags in the config, a map beside it."""

    def flags(content: str) -> dict[str, Any]:
        names = ("lstrip", "normalized", "rstrip", "single_word")
        return {"content": content, **dict.fromkeys(names, False)}

    added = read_json(directory / "tokenizer.json")["added_tokens"]
    decoder = {str(entry["id"]): {**flags(entry["content"]), "special": True} for entry in added}
    roles = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokenizer_config = {
        "added_tokens_decoder": decoder,
        "additional_special_tokens": ["<unk>"],
        **roles,
        "extra_special_tokens": {},
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    special = {name: flags(token) for name, token in roles.items()}
    special_map = {**special, "additional_special_tokens": [flags("<unk>")]}
    (directory / "tokenizer_config.json").write_text(json.dumps(tokenizer_config))
    (directory / "special_tokens_map.json").write_text(json.dumps(special_map))
    (directory / "added_tokens.json").write_text("{}")


def rewrite_for_version_5(directory: Path) -> None:
    """Makes the files what transformers 5 writes, and version 4 cannot read."""
    (directory / "special_tokens_map.json").unlink(missing_ok=True)
    tokenizer_config = {
        "backend": "tokenizers",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": None,
        "extra_special_tokens": ["<unk>"],
        "tokenizer_class": "TokenizersBackend",
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(tokenizer_config))


def test_a_tokenizer_of_version_4(tmp_path: Path) -> None:
    source = write_model(tmp_path / "hf", write_byte_level_bpe)
    rewrite_for_version_4(source)
    yaml = "eos_token: <|end|>\nspecial_tokens: [<|a|>]\nregular_tokens: [zqx]\n"
    result = add_tokens(source, tmp_path / "fg", yaml)
    size = len(load_tokenizer(source))
    written = read_json(result / "tokenizer_config.json")
    assert written["additional_special_tokens"] == ["<unk>", "<|a|>"]
    assert written["added_tokens_decoder"][str(size)]["content"] == "<|end|>"
    assert not written["added_tokens_decoder"][str(size + 2)]["special"]
    special = read_json(result / "special_tokens_map.json")
    assert special["eos_token"]["content"] == "<|end|>"
    assert special["bos_token"]["content"] == "<s>"
    flat = read_json(result / "added_tokens.json")
    assert flat == {"<|end|>": size, "<|a|>": size + 1, "zqx": size + 2}
    tokenizer = load_tokenizer(result)
    assert tokenizer("a<|a|>zqx")["input_ids"][-2:] == [size + 1, size + 2]
    assert tokenizer.eos_token_id == size


@pytest.mark.skipif(TRANSFORMERS_MAJOR < 5, reason="version 4 cannot read it")
def test_a_tokenizer_of_version_5(tmp_path: Path) -> None:
    source = write_model(tmp_path / "hf", write_byte_level_bpe)
    rewrite_for_version_5(source)
    yaml = "eos_token: <|end|>\nspecial_tokens: [<|a|>]\nregular_tokens: [zqx]\n"
    result = add_tokens(source, tmp_path / "fg", yaml)
    size = len(load_tokenizer(source))
    written = read_json(result / "tokenizer_config.json")
    assert written["extra_special_tokens"] == ["<unk>", "<|a|>"]
    assert "added_tokens_decoder" not in written
    assert not (result / "special_tokens_map.json").exists()
    tokenizer = load_tokenizer(result)
    assert tokenizer("a<|a|>zqx")["input_ids"][-2:] == [size + 1, size + 2]
    assert tokenizer.eos_token_id == size


@pytest.mark.skipif(TRANSFORMERS_MAJOR > 4, reason="version 5 can read it")
def test_a_tokenizer_of_version_5_under_version_4(tmp_path: Path) -> None:
    """Tokens that are asked for are an error; what nobody asked for is a warning."""
    source = write_model(tmp_path / "hf", write_byte_level_bpe)
    rewrite_for_version_5(source)
    with pytest.raises(SourceError, match="Tokens cannot be added") as error:
        add_tokens(source, tmp_path / "fg", "special_tokens: [<|a|>]\n")
    assert "cannot be loaded by the installed transformers" in str(error.value)
    assert "TokenizersBackend" in str(error.value)
    with logged(level=30) as messages:
        convert(source, tmp_path / "fg")
    assert "No padding token was added" in messages[0]
    convert(tmp_path / "fg", tmp_path / "back")
    assert differences(source, tmp_path / "back") == []


def test_files_that_need_not_change_keep_their_bytes(tmp_path: Path) -> None:
    source = write_model(tmp_path / "hf", write_sentencepiece)
    result = add_tokens(source, tmp_path / "fg", "special_tokens: [<|a|>]\n")
    name = "tokenizer.model"
    assert (result / name).read_bytes() == (source / name).read_bytes()


def test_tokens_that_were_added_beside_a_sentencepiece_model(tmp_path: Path) -> None:
    """Older fine-tunes list them in files that a newer list in the config would hide."""
    source = write_model(tmp_path / "hf", write_sentencepiece, spare=2)
    added = {"<|old|>": 32000, "<pad>": 32001}
    (source / "added_tokens.json").write_text(json.dumps(added))
    special = {
        "bos_token": {"content": "<s>", "lstrip": False, "rstrip": False, "normalized": False},
        "pad_token": "<pad>",
    }
    (source / "special_tokens_map.json").write_text(json.dumps(special))
    edit_json(source / "tokenizer_config.json", ("pad_token",))
    result = add_tokens(source, tmp_path / "fg", "special_tokens: [<|a|>]\n")
    before, after = load_tokenizer(source), load_tokenizer(result)
    assert after.convert_tokens_to_ids(["<|old|>", "<pad>", "<|a|>"]) == [32000, 32001, 32002]
    assert (before.pad_token_id, after.pad_token_id) == (32001, 32001)
    for text in [*TEXTS, "x<|old|>y<pad>"]:
        assert after(text)["input_ids"] == before(text)["input_ids"]
    assert config(result)["vocab_size"] == 32003


def test_a_source_whose_config_alone_names_the_tokenizers_class(tmp_path: Path) -> None:
    """There is no tokenizer_config.json; the Forgather config says what to load it with."""
    source = write_model(tmp_path / "hf", write_sentencepiece)
    (source / "tokenizer_config.json").unlink()
    convert(source, tmp_path / "fg", ConvertOptions(skip_default_tokens=True))
    assert config(tmp_path / "fg")["tokenizer_class"]
    result = add_tokens(tmp_path / "fg", tmp_path / "back", "pad_token: <|pad|>\n")
    before, after = load_tokenizer(source), load_tokenizer(result)
    assert after.pad_token_id == 32000
    for text in TEXTS:
        assert after(text)["input_ids"] == before(text)["input_ids"]


def test_a_source_without_a_tokenizer(tmp_path: Path) -> None:
    source = write_model(tmp_path / "hf", lambda path: 40)
    with pytest.raises(SourceError, match="has no tokenizer"):
        add_tokens(source, tmp_path / "fg", "special_tokens: [<|a|>]\n")
    convert(source, tmp_path / "fg")
    assert config(tmp_path / "fg")["vocab_size"] == 40


def test_a_tokenizer_with_two_tokens_of_one_id(tmp_path: Path) -> None:
    """It loads, and fails when it is copied: which of the two is left depends on hashes."""
    source = write_model(tmp_path / "hf", write_byte_level_bpe)
    tokenizer = read_json(source / "tokenizer.json")
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary |= {f"\u0082{token}": number for token, number in vocabulary.items()}
    (source / "tokenizer.json").write_text(json.dumps(tokenizer))
    load_tokenizer(source)
    with pytest.raises(SourceError, match="Tokens cannot be added"):
        add_tokens(source, tmp_path / "fg", "special_tokens: [<|a|>]\n")
