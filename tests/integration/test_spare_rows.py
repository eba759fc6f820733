"""Rows that no token has may hold a value all the same: none is lost without a word."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from forgather_convert import ConvertOptions, OptionError, convert
from support.directories import differences
from support.log import logged
from support.tokenizers import write_byte_level_bpe
from support.vocabulary import (
    EMBEDDING,
    HF_EMBEDDING,
    config,
    edit_json,
    load_tokenizer,
    weights,
    write_model,
)

pytestmark = pytest.mark.version_independent

HEAD = "lm_head.weight"


def _add(source: Path, yaml: str, **options: Any) -> tuple[Path, Any]:
    path = source.with_name("tokens.yaml")
    path.write_text(yaml)
    result = convert(source, source.with_name("fg"), ConvertOptions(token_file=path, **options))
    return source.with_name("fg"), result


def _size(source: Path) -> int:
    return len(load_tokenizer(source))


@pytest.mark.parametrize("name", ["llama-default", "llama-tied"])
def test_the_default_padding_token_sets_a_spare_row(name: str, tmp_path: Path) -> None:
    """The row is that of no token, and the padding token begins as zeros wherever it is."""
    source = write_model(tmp_path / "hf", write_byte_level_bpe, name, spare=3)
    size = _size(source)
    with logged() as messages:
        result = convert(source, tmp_path / "fg")
    before, after = weights(source), weights(tmp_path / "fg")
    assert before[HF_EMBEDDING][size].any()
    for own_name, name in ((EMBEDDING, HF_EMBEDDING), (HEAD, HEAD)):
        if name in before:
            assert not after[own_name][size].any()
            after[own_name][size] = before[name][size]
            assert torch.equal(after[own_name], before[name])
    assert load_tokenizer(tmp_path / "fg").pad_token_id == size
    assert config(tmp_path / "fg")["pad_token_id"] == size
    (line,) = [text for text in messages if "'[PAD]' gets the id" in text]
    assert str(size) in line
    assert "set to zeros" in line
    assert result.plan.vocabulary is not None
    (change,) = result.plan.vocabulary.tokens
    assert (change.action.value, change.init) == ("added", "zero (spare row)")
    assert result.logits is not None
    assert result.logits.are_equal


def test_only_the_tokenizer_the_ids_and_a_row_change(tmp_path: Path) -> None:
    """And nothing without default tokens."""
    source = write_model(tmp_path / "hf", write_byte_level_bpe, spare=3)
    convert(source, tmp_path / "fg")
    convert(tmp_path / "fg", tmp_path / "back")
    changed = {text.split(": ")[1] for text in differences(source, tmp_path / "back")}
    assert {"config.json", "model.safetensors"} <= changed
    assert all("token" in name or "config" in name for name in changed - {"model.safetensors"})
    convert(source, tmp_path / "plain", ConvertOptions(skip_default_tokens=True))
    convert(tmp_path / "plain", tmp_path / "plain-back")
    assert differences(source, tmp_path / "plain-back") == []


def test_a_padding_token_that_is_asked_for_is_set_as_asked(tmp_path: Path) -> None:
    """The same token by the same name, but it is the user's wish."""
    source = write_model(tmp_path / "hf", write_byte_level_bpe, spare=3)
    size = _size(source)
    yaml = "pad_token: '[PAD]'\nspecial_tokens: [<|a|>, {token: <|b|>, init: zero}, <|c|>]\n"
    fg, result = _add(source, yaml)
    old, new = weights(source)[HF_EMBEDDING], weights(fg)[EMBEDDING]
    assert not new[size].any()
    assert torch.equal(new[size + 1], old[:size].mean(dim=0))
    assert not new[size + 2].any()
    assert torch.equal(new[:size], old[:size])
    assert [change.init for change in result.plan.vocabulary.tokens] == [
        "zero (spare row)",
        "mean (spare row)",
        "zero (spare row)",
        "mean",
    ]


def test_a_new_row_of_the_default_padding_token_is_zero(tmp_path: Path) -> None:
    source = write_model(tmp_path / "hf", write_byte_level_bpe)
    result = convert(source, tmp_path / "fg")
    assert not weights(tmp_path / "fg")[EMBEDDING][-1].any()
    assert result.plan.vocabulary is not None
    assert [change.init for change in result.plan.vocabulary.tokens] == ["zero"]


# Ids that mean something


def _decoder(token: str, token_id: int) -> dict[str, Any]:
    names = ("lstrip", "normalized", "rstrip", "single_word")
    return {str(token_id): {"content": token, "special": True, **dict.fromkeys(names, False)}}


def _use(source: Path, field: str, token_id: int) -> None:
    """Lets a config or another file use an id."""
    if field == "added_tokens.json":
        # With the list in the config transformers does not look at the other file.
        edit_json(source / "tokenizer_config.json", added_tokens_decoder=_decoder("<unk>", 0))
        (source / field).write_text(json.dumps({"<|elsewhere|>": token_id}))
    elif field in ("suppress_tokens", "bad_words_ids"):
        value = [3, token_id] if field == "suppress_tokens" else [[3], [token_id]]
        edit_json(source / "generation_config.json", **{field: value})
    elif field == "nested":
        edit_json(source / "config.json", custom={"deep": {"image_token_index": token_id}})
    elif field == "eos_token_id":
        edit_json(source / "config.json", eos_token_id=[2, token_id])
    else:
        edit_json(source / "config.json", **{field: token_id})


USES = [
    "eos_token_id",
    "bos_token_id",
    "decoder_start_token_id",
    "suppress_tokens",
    "bad_words_ids",
    "nested",
    "added_tokens.json",
]
WORDS = {"nested": "image_token_index", "added_tokens.json": "'<|elsewhere|>'"}


@pytest.mark.parametrize("field", USES)
def test_an_id_that_is_used_otherwise_is_not_taken(field: str, tmp_path: Path) -> None:
    """The default token is left out with a warning; one that is asked for is an error."""
    source = write_model(tmp_path / "hf", write_byte_level_bpe, spare=3)
    size = _size(source)
    _use(source, field, size)
    with pytest.raises(OptionError, match=f"would get the id {size}") as error:
        _add(source, "special_tokens: [<|a|>]\n")
    assert WORDS.get(field, field) in str(error.value)
    assert "tokens.yaml:1" in str(error.value)
    assert not (tmp_path / "fg").exists()
    with logged(level=30) as messages:
        convert(source, tmp_path / "fg", ConvertOptions(logit_check=False))
    (line,) = [text for text in messages if text.startswith("No padding token was added")]
    assert WORDS.get(field, field) in line
    assert "--add-tokens" in line
    convert(tmp_path / "fg", tmp_path / "back", ConvertOptions(logit_check=False))
    assert differences(source, tmp_path / "back") == []


@pytest.mark.parametrize("place", ["added_tokens.json", "added_tokens_decoder"])
def test_tokens_that_tokenizer_json_does_not_list(place: str, tmp_path: Path) -> None:
    """They keep their ids, and the new ones come after them."""
    source = write_model(tmp_path / "hf", write_byte_level_bpe, spare=3)
    size = _size(source)
    if place == "added_tokens.json":
        edit_json(source / "tokenizer_config.json", ("added_tokens_decoder",))
        (source / place).write_text(json.dumps({"<|elsewhere|>": size}))
    else:
        decoder = _decoder("<|elsewhere|>", size)
        edit_json(source / "tokenizer_config.json", added_tokens_decoder=decoder)
    before = load_tokenizer(source)
    fg, _ = _add(source, "special_tokens: [<|a|>]\n")
    after = load_tokenizer(fg)
    for token in ("<|elsewhere|>", "<|a|>"):
        token_id = after.convert_tokens_to_ids(token)
        assert after(f"x{token}")["input_ids"][-1] == token_id
        assert token_id == size + (token == "<|a|>")
    assert after("x<|elsewhere|>y")["input_ids"] == before("x<|elsewhere|>y")["input_ids"]


def test_the_row_of_a_role_is_for_the_token_of_that_role(tmp_path: Path) -> None:
    """A config may name the padding's id where the tokenizer has lost the token."""
    source = write_model(tmp_path / "hf", write_byte_level_bpe, spare=3)
    size = _size(source)
    edit_json(source / "config.json", pad_token_id=size)
    convert(source, tmp_path / "fg")
    assert config(tmp_path / "fg")["pad_token_id"] == size
    assert torch.equal(weights(tmp_path / "fg")[EMBEDDING], weights(source)[HF_EMBEDDING])


def test_a_token_of_two_roles_may_have_the_id_of_either(tmp_path: Path) -> None:
    source = write_model(tmp_path / "hf", write_byte_level_bpe, spare=3)
    size = _size(source)
    edit_json(source / "config.json", eos_token_id=size)
    fg, _ = _add(source, "eos_token: <|end|>\npad_token: <|end|>\n")
    assert (config(fg)["eos_token_id"], config(fg)["pad_token_id"]) == (size, size)


def write_with_a_gap(directory: Path, pad_token: str | None = None) -> int:
    """A tokenizer of five words whose ids leave one out; gives its number of ids."""
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2, "old": 3, "bridge": 5}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token=pad_token,
    )
    fast.save_pretrained(directory)
    return 6


def test_a_tokenizer_that_would_give_an_id_twice(tmp_path: Path) -> None:
    """Where ids have gaps, the library counts the tokens and takes the id of the last one."""
    source = write_model(tmp_path / "hf", write_with_a_gap)
    with logged(level=30) as messages:
        convert(source, tmp_path / "fg", ConvertOptions(logit_check=False))
    assert any("'bridge'" in text for text in messages)
    assert torch.equal(weights(tmp_path / "fg")[EMBEDDING], weights(source)[HF_EMBEDDING])
    with pytest.raises(OptionError, match="the token 'bridge'"):
        _add(source, "pad_token: <|pad|>\n", overwrite=True)


# Rows for the multiple


@pytest.mark.parametrize("skips_default", [True, False])
def test_rows_for_the_multiple_are_the_mean_of_the_tokens(
    skips_default: bool, tmp_path: Path
) -> None:
    """Spare rows were never trained; they do not count, also where no token is added."""
    pad_token = None if skips_default else "</s>"
    source = write_model(
        tmp_path / "hf", lambda path: write_byte_level_bpe(path, pad_token), spare=3
    )
    size = _size(source)
    options = ConvertOptions(pad_vocab_to_multiple_of=64, skip_default_tokens=skips_default)
    convert(source, tmp_path / "fg", options)
    old, new = weights(source)[HF_EMBEDDING], weights(tmp_path / "fg")[EMBEDDING]
    assert torch.equal(new[: size + 3], old)
    assert len(new) > size + 3
    assert all(torch.equal(row, old[:size].mean(dim=0)) for row in new[size + 3 :])
