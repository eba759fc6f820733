"""Vocabulary extension with real tokenizers: tokens, roles, ids, and the reverse."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from forgather_convert import ConvertOptions, OptionError, convert
from support.directories import differences, snapshot
from support.log import logged
from support.models import load_forgather, load_hf
from support.tokenizers import KINDS, write_byte_level_bpe
from support.vocabulary import (
    EMBEDDING,
    HF_EMBEDDING,
    TEXTS,
    add_tokens,
    config,
    load_tokenizer,
    read_json,
    weights,
    write_model,
)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("bpe", "llama-default"), ("unigram", "llama-tied"), ("sentencepiece", "llama-default")],
)
def test_new_tokens_are_one_id_and_old_text_keeps_its_ids(
    kind: str, name: str, tmp_path: Path
) -> None:
    source = write_model(tmp_path / "hf", KINDS[kind], name)
    yaml = "special_tokens: ['<|im_start|>']\nregular_tokens: [zqx_token]\npad_token: <|pad|>\n"
    result = add_tokens(source, tmp_path / "fg", yaml)
    before, after = load_tokenizer(source), load_tokenizer(result)
    size = len(before)
    assert [after.convert_tokens_to_ids(t) for t in ("<|pad|>", "<|im_start|>", "zqx_token")] == [
        size,
        size + 1,
        size + 2,
    ]
    for text in TEXTS:
        assert after(text)["input_ids"] == before(text)["input_ids"]
    for token in ("<|pad|>", "<|im_start|>", "zqx_token"):
        assert after(token, add_special_tokens=False)["input_ids"] == [
            after.convert_tokens_to_ids(token)
        ]
    ids = after("a<|im_start|>b zqx_token", add_special_tokens=False)["input_ids"]
    assert {size + 1, size + 2} <= set(ids)
    assert "<|im_start|>" not in after.decode(ids, skip_special_tokens=True)
    assert "zqx_token" in after.decode(ids, skip_special_tokens=True)

    assert after.pad_token_id == size
    assert config(result)["vocab_size"] == size + 3
    assert config(result)["pad_token_id"] == size
    generation = json.loads((result / "generation_config.json").read_text())
    assert generation["pad_token_id"] == size
    model = load_forgather(result)
    output = model.generate(torch.tensor([ids]), max_new_tokens=4, do_sample=False)
    assert output.shape[1] > len(ids)


def test_existing_tokens_only_move_the_pointer(tmp_path: Path) -> None:
    source = write_model(tmp_path / "hf", write_byte_level_bpe)
    result = add_tokens(source, tmp_path / "fg", "pad_token: </s>\nspecial_tokens: [<s>]\n")
    tokenizer = load_tokenizer(result)
    assert (tokenizer.pad_token, tokenizer.pad_token_id) == ("</s>", 2)
    assert len(tokenizer) == len(load_tokenizer(source))
    assert config(result)["pad_token_id"] == 2
    assert torch.equal(weights(result)[EMBEDDING], weights(source)[HF_EMBEDDING])


def test_if_missing(tmp_path: Path) -> None:
    source = write_model(tmp_path / "hf", lambda path: write_byte_level_bpe(path, "<unk>"))
    yaml = "pad_token:\n  token: <|pad|>\n  if_missing: true\n"
    kept = add_tokens(source, tmp_path / "kept", yaml)
    assert load_tokenizer(kept).pad_token == "<unk>"
    assert config(kept)["vocab_size"] == config(source)["vocab_size"]
    bare = write_model(tmp_path / "bare", write_byte_level_bpe)
    added = add_tokens(bare, tmp_path / "added", yaml)
    assert load_tokenizer(added).pad_token == "<|pad|>"


def test_if_missing_changes_nothing_that_is_there(tmp_path: Path) -> None:
    """Neither ids that the config gives otherwise, nor rows; an ``init`` is for a new token."""
    source = write_model(
        tmp_path / "hf", lambda path: write_byte_level_bpe(path, "<unk>"), pad_token_id=7
    )
    yaml = "pad_token: {token: </s>, init: zero, if_missing: true}\n"
    yaml += "special_tokens: [{token: <s>, init: zero, if_missing: true}]\n"
    there = add_tokens(source, tmp_path / "kept", yaml)
    assert config(there)["pad_token_id"] == 7
    assert torch.equal(weights(there)[EMBEDDING], weights(source)[HF_EMBEDDING])
    convert(there, tmp_path / "back", ConvertOptions(logit_check=False))
    assert differences(source, tmp_path / "back") == []

    bare = write_model(tmp_path / "bare", write_byte_level_bpe)
    moved = add_tokens(bare, tmp_path / "moved", yaml)
    assert (load_tokenizer(moved).pad_token, config(moved)["pad_token_id"]) == ("</s>", 2)
    assert torch.equal(weights(moved)[EMBEDDING], weights(bare)[HF_EMBEDDING])


def test_replacing_eos_keeps_the_other_ends(tmp_path: Path) -> None:
    source = write_model(tmp_path / "hf", write_byte_level_bpe, eos_token_id=[2, 5])
    result = add_tokens(source, tmp_path / "fg", "eos_token: <|end|>\n")
    new = load_tokenizer(result).eos_token_id
    assert config(result)["eos_token_id"] == [new, 5]
    generation = json.loads((result / "generation_config.json").read_text())
    assert generation["eos_token_id"] == [new, 3]


def test_a_new_bos_stands_where_the_old_one_stood(tmp_path: Path) -> None:
    source = write_model(tmp_path / "hf", write_byte_level_bpe)
    result = add_tokens(source, tmp_path / "fg", "bos_token: <|begin|>\n")
    before, after = load_tokenizer(source)("river"), load_tokenizer(result)("river")
    assert before["input_ids"][0] == 1
    assert after["input_ids"] == [load_tokenizer(result).bos_token_id, *before["input_ids"][1:]]


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_padding_token_is_added_by_default(kind: str, tmp_path: Path) -> None:
    source = write_model(tmp_path / "hf", KINDS[kind])
    size = len(load_tokenizer(source))
    convert(source, tmp_path / "fg")
    tokenizer = load_tokenizer(tmp_path / "fg")
    assert (tokenizer.pad_token, tokenizer.pad_token_id) == ("[PAD]", size)
    assert torch.equal(weights(tmp_path / "fg")[EMBEDDING][size], torch.zeros(16))
    assert torch.equal(weights(tmp_path / "fg")["lm_head.weight"][size], torch.zeros(16))

    convert(source, tmp_path / "bare", ConvertOptions(skip_default_tokens=True))
    convert(tmp_path / "bare", tmp_path / "back")
    assert load_tokenizer(tmp_path / "bare").pad_token is None
    assert differences(source, tmp_path / "back") == []


def test_a_tokenizer_with_padding_is_left_alone(tmp_path: Path) -> None:
    source = write_model(tmp_path / "hf", lambda path: write_byte_level_bpe(path, "</s>"))
    convert(source, tmp_path / "fg")
    convert(tmp_path / "fg", tmp_path / "back")
    assert differences(source, tmp_path / "back") == []


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("bpe", "mistral-tied"),
        ("unigram", "llama-default"),
        # Not with mistral: transformers 5 reads its tokenizer.model in another way when
        # mistral-common is installed, which the tests take the file from.
        ("sentencepiece", "llama-tied"),
    ],
)
def test_an_extended_and_trained_model_keeps_everything_on_the_way_back(
    kind: str, name: str, tmp_path: Path
) -> None:
    source = write_model(tmp_path / "hf", KINDS[kind], name)
    extended = add_tokens(
        source, tmp_path / "fg", "eos_token: <|end|>\nregular_tokens: [zqx_token]\n"
    )
    state = weights(extended)
    trained = {key: value + 0.25 for key, value in state.items()}
    save_file(trained, extended / "model.safetensors", metadata={"format": "pt"})
    convert(extended, tmp_path / "back")

    back = weights(tmp_path / "back")
    assert torch.equal(back[HF_EMBEDDING], trained[EMBEDDING])
    tokenizer, original = load_tokenizer(tmp_path / "back"), load_tokenizer(extended)
    for text in [*TEXTS, "x zqx_token<|end|>"]:
        assert tokenizer(text)["input_ids"] == original(text)["input_ids"]
    assert config(tmp_path / "back")["vocab_size"] == config(extended)["vocab_size"]
    assert config(tmp_path / "back")["eos_token_id"] == config(extended)["eos_token_id"]
    ids = torch.tensor([original("bridge zqx_token")["input_ids"]])
    hf = load_hf(tmp_path / "back", name.split("-")[0])
    assert torch.equal(hf(ids).logits, load_forgather(extended)(ids).logits)


def test_tokens_can_be_added_on_the_way_back(tmp_path: Path) -> None:
    source = write_model(tmp_path / "hf", write_byte_level_bpe)
    convert(source, tmp_path / "fg", ConvertOptions(skip_default_tokens=True))
    result = add_tokens(tmp_path / "fg", tmp_path / "back", "pad_token: <|pad|>\n")
    size = len(load_tokenizer(source))
    assert load_tokenizer(result).pad_token_id == size
    assert config(result)["vocab_size"] == size + 1
    old, new = weights(source)[HF_EMBEDDING], weights(result)[HF_EMBEDDING]
    assert torch.equal(new[:size], old)
    assert torch.equal(new[size], torch.zeros(16))


def test_a_second_conversion_changes_nothing(tmp_path: Path) -> None:
    source = write_model(tmp_path / "hf", write_byte_level_bpe)
    yaml = "pad_token: <|pad|>\nspecial_tokens: [<|a|>]\n"
    extended = add_tokens(source, tmp_path / "fg", yaml)
    convert(extended, tmp_path / "hf2")
    again = add_tokens(tmp_path / "hf2", tmp_path / "fg2", yaml)
    before, after = snapshot(extended), snapshot(again)
    del before["forgather_conversion.json"], after["forgather_conversion.json"]
    assert before == after


@pytest.mark.parametrize(
    ("yaml", "words"),
    [
        ("special_tokens:\n  - token: <a>\n    init: {copy: <none>}\n", "<none>"),
        ("special_tokens:\n  - token: <a>\n    init: {average_of: ['<s>', <none>]}\n", "<none>"),
    ],
)
def test_an_init_that_refers_to_nothing(yaml: str, words: str, tmp_path: Path) -> None:
    source = write_model(tmp_path / "hf", write_byte_level_bpe)
    with pytest.raises(OptionError, match="not in the vocabulary") as error:
        add_tokens(source, tmp_path / "fg", yaml)
    assert words in str(error.value)
    assert ".yaml:2" in str(error.value)
    assert not (tmp_path / "fg").exists()


def test_the_table_says_what_was_done(tmp_path: Path) -> None:
    source = write_model(tmp_path / "hf", write_byte_level_bpe)
    path = tmp_path / "tokens.yaml"
    path.write_text("bos_token: <|begin|>\npad_token: </s>\nspecial_tokens: ['<unk>']\n")
    result = convert(source, tmp_path / "fg", ConvertOptions(token_file=path))
    assert result.plan.vocabulary is not None
    rows = [
        (change.token, change.role.value, change.action.value, change.init, change.replaced)
        for change in result.plan.vocabulary.tokens
    ]
    assert rows == [
        ("<|begin|>", "bos_token", "added", "mean", "<s>"),
        ("</s>", "pad_token", "moved", "unchanged", None),
        ("<unk>", "special_tokens", "kept", "unchanged", None),
    ]


def test_an_old_token_becomes_special(tmp_path: Path) -> None:
    """It keeps id and row, is not split any more, and decoding can leave it out."""
    source = write_model(tmp_path / "hf", write_byte_level_bpe)
    result = add_tokens(source, tmp_path / "fg", "special_tokens: [The]\n")
    before, after = load_tokenizer(source), load_tokenizer(result)
    token_id = before.convert_tokens_to_ids("The")
    assert token_id != before.unk_token_id
    ids = after("xThex", add_special_tokens=False)["input_ids"]
    assert token_id in ids
    assert after.decode(ids, skip_special_tokens=True) == "xx"
    assert len(after) == len(before)
    assert torch.equal(weights(result)[EMBEDDING], weights(source)[HF_EMBEDDING])


def test_the_config_learns_what_the_tokenizer_knows(tmp_path: Path) -> None:
    """The tokenizer pads with it already, but the model's config does not say so."""
    source = write_model(tmp_path / "hf", lambda path: write_byte_level_bpe(path, "</s>"))
    result = add_tokens(source, tmp_path / "fg", "pad_token: </s>\n")
    assert (config(source)["pad_token_id"], config(result)["pad_token_id"]) == (None, 2)
    assert read_json(result / "generation_config.json")["pad_token_id"] == 2


def test_a_reserved_padding_token_is_not_taken_but_mentioned(tmp_path: Path) -> None:
    source = write_model(tmp_path / "hf", write_byte_level_bpe)
    yaml = "special_tokens: ['<|finetune_right_pad_id|>', '<|eot_id|>']\n"
    reserved = add_tokens(source, tmp_path / "reserved", yaml)
    convert(reserved, tmp_path / "hf2")
    with logged() as messages:
        convert(tmp_path / "hf2", tmp_path / "fg", ConvertOptions(logit_check=False))
    (line,) = [message for message in messages if "padding token" in message]
    assert "'<|finetune_right_pad_id|>'" in line
    assert "eot_id" not in line
    assert "--add-tokens" in line
    assert load_tokenizer(tmp_path / "fg").pad_token == "[PAD]"


def test_replacing_by_a_new_token_hints_at_what_the_old_one_has_learnt(tmp_path: Path) -> None:
    source = write_model(tmp_path / "hf", write_byte_level_bpe)
    with logged() as messages:
        add_tokens(source, tmp_path / "fg", "bos_token: <|begin|>\n", logit_check=False)
    (line,) = [message for message in messages if "init: {copy" in message]
    assert "<|begin|>" in line
    assert 'init: {copy: "<s>"}' in line
    with logged() as messages:
        add_tokens(source, tmp_path / "moved", "bos_token: <unk>\n", logit_check=False)
    assert not [message for message in messages if "copy" in message]
