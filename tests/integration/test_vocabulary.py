"""Vocabulary extension with real tokenizers: ids, rows, files, and the way back."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from forgather_convert import ConvertOptions, OptionError, SourceError, convert, plan
from forgather_convert.tensors.expressions import describe
from support.directories import differences, snapshot
from support.log import logged
from support.models import TRANSFORMERS_MAJOR, load_forgather, load_hf
from support.tokenizers import write_byte_level_bpe, write_sentencepiece, write_unigram
from support.vocabulary import (
    EMBEDDING,
    HF_EMBEDDING,
    TEXTS,
    config,
    edit_json,
    load_tokenizer,
    read_json,
    weights,
    write_model,
)

KINDS = {
    "bpe": write_byte_level_bpe,
    "unigram": write_unigram,
    "sentencepiece": write_sentencepiece,
}


def add(source: Path, destination: Path, yaml: str, **options: Any) -> Path:
    """Converts with a token file."""
    path = destination.with_name(destination.name + ".yaml")
    path.write_text(yaml)
    convert(source, destination, ConvertOptions(token_file=path, **options))
    return destination


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["llama-default", "llama-tied"])
def test_new_tokens_are_one_id_and_old_text_keeps_its_ids(
    kind: str, name: str, tmp_path: Path
) -> None:
    source = write_model(tmp_path / "hf", KINDS[kind], name)
    yaml = "special_tokens: ['<|im_start|>']\nregular_tokens: [zqx_token]\npad_token: <|pad|>\n"
    result = add(source, tmp_path / "fg", yaml)
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


@pytest.mark.parametrize("name", ["llama-default", "qwen3-tied"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_rows_are_what_their_init_promises(name: str, dtype: str, tmp_path: Path) -> None:
    source = write_model(tmp_path / "hf", write_byte_level_bpe, name, dtype=dtype)
    result = add(
        source,
        tmp_path / "fg",
        """
bos_token: <|begin|>
pad_token: <|pad|>
special_tokens:
  - token: <|zero|>
    init: zero
  - token: <|copy|>
    init: {copy: "</s>"}
regular_tokens:
  - token: averaged
    init: {average_of: ["<s>", "</s>", "<unk>"]}
  - token: the bridge
    init: subwords
""",
    )
    before, after = weights(source), weights(result)
    tokenizer, old_tokenizer = load_tokenizer(result), load_tokenizer(source)
    matrices = {EMBEDDING: HF_EMBEDDING}
    if name == "llama-default":
        matrices["lm_head.weight"] = "lm_head.weight"
    for new_name, old_name in matrices.items():
        old, new = before[old_name], after[new_name]
        torch_dtype = getattr(torch, dtype)

        def row(token: str, new: torch.Tensor = new) -> torch.Tensor:
            return new[tokenizer.convert_tokens_to_ids(token)]

        def average(ids: list[int], old: torch.Tensor = old) -> torch.Tensor:
            return old[ids].float().mean(dim=0).to(getattr(torch, dtype))

        assert torch.equal(new[: len(old)], old)
        assert torch.equal(row("<|begin|>"), old.float().mean(dim=0).to(torch_dtype))
        assert torch.equal(row("<|pad|>"), torch.zeros_like(old[0]))
        assert torch.equal(row("<|zero|>"), torch.zeros_like(old[0]))
        assert torch.equal(row("<|copy|>"), old[2])
        assert torch.equal(row("averaged"), average([1, 2, 0]))
        subwords = old_tokenizer("the bridge", add_special_tokens=False)["input_ids"]
        assert len(subwords) > 1
        assert torch.equal(row("the bridge"), average(subwords))


def test_the_same_file_gives_the_same_bytes(tmp_path: Path) -> None:
    source = write_model(tmp_path / "hf", write_byte_level_bpe)
    yaml = "bos_token: <|begin|>\nspecial_tokens: [<|a|>]\n"
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        results.append(add(source, tmp_path / f"fg{seed}", yaml))
    assert differences(*results) == []


def test_spare_rows_are_taken_first_and_never_cut(tmp_path: Path) -> None:
    """Qwen3 has 151936 rows for 151669 tokens; tools that cut the rest lose live rows."""
    source = write_model(tmp_path / "hf", write_byte_level_bpe, "qwen3-untied", spare=5)
    result = add(source, tmp_path / "fg", "special_tokens: [<|a|>, <|b|>]\n")
    size = len(load_tokenizer(source))
    assert config(result)["vocab_size"] == size + 5
    old, new = weights(source)[HF_EMBEDDING], weights(result)[EMBEDDING]
    mean = old[:size].mean(dim=0)
    assert torch.equal(new[:size], old[:size])
    assert torch.equal(new[size], mean)
    assert torch.equal(new[size + 1], mean)
    assert torch.equal(new[size + 2 :], old[size + 2 :])


def test_padding_the_vocabulary(tmp_path: Path) -> None:
    source = write_model(tmp_path / "hf", write_byte_level_bpe)
    size = len(load_tokenizer(source))
    result = add(source, tmp_path / "fg", "special_tokens: [<|a|>]\n", pad_vocab_to_multiple_of=64)
    assert config(result)["vocab_size"] == -(-(size + 1) // 64) * 64
    assert len(load_tokenizer(result)) == size + 1
    plain = tmp_path / "plain"
    convert(source, plain, ConvertOptions(pad_vocab_to_multiple_of=64, skip_default_tokens=True))
    assert config(plain)["vocab_size"] == -(-size // 64) * 64


def test_existing_tokens_only_move_the_pointer(tmp_path: Path) -> None:
    source = write_model(tmp_path / "hf", write_byte_level_bpe)
    result = add(source, tmp_path / "fg", "pad_token: </s>\nspecial_tokens: [<s>]\n")
    tokenizer = load_tokenizer(result)
    assert (tokenizer.pad_token, tokenizer.pad_token_id) == ("</s>", 2)
    assert len(tokenizer) == len(load_tokenizer(source))
    assert config(result)["pad_token_id"] == 2
    assert torch.equal(weights(result)[EMBEDDING], weights(source)[HF_EMBEDDING])


def test_an_existing_token_with_an_init_gets_a_new_row(tmp_path: Path) -> None:
    source = write_model(tmp_path / "hf", write_byte_level_bpe)
    yaml = "pad_token:\n  token: <unk>\n  init: zero\n"
    result = add(source, tmp_path / "fg", yaml)
    old, new = weights(source)[HF_EMBEDDING], weights(result)[EMBEDDING]
    assert torch.equal(new[0], torch.zeros_like(new[0]))
    assert torch.equal(new[1:], old[1:])


def test_if_missing(tmp_path: Path) -> None:
    source = write_model(tmp_path / "hf", lambda path: write_byte_level_bpe(path, "<unk>"))
    yaml = "pad_token:\n  token: <|pad|>\n  if_missing: true\n"
    kept = add(source, tmp_path / "kept", yaml)
    assert load_tokenizer(kept).pad_token == "<unk>"
    assert config(kept)["vocab_size"] == config(source)["vocab_size"]
    bare = write_model(tmp_path / "bare", write_byte_level_bpe)
    added = add(bare, tmp_path / "added", yaml)
    assert load_tokenizer(added).pad_token == "<|pad|>"


def test_replacing_eos_keeps_the_other_ends(tmp_path: Path) -> None:
    source = write_model(tmp_path / "hf", write_byte_level_bpe, eos_token_id=[2, 5])
    result = add(source, tmp_path / "fg", "eos_token: <|end|>\n")
    new = load_tokenizer(result).eos_token_id
    assert config(result)["eos_token_id"] == [new, 5]
    generation = json.loads((result / "generation_config.json").read_text())
    assert generation["eos_token_id"] == [new, 3]


def test_a_new_bos_stands_where_the_old_one_stood(tmp_path: Path) -> None:
    source = write_model(tmp_path / "hf", write_byte_level_bpe)
    result = add(source, tmp_path / "fg", "bos_token: <|begin|>\n")
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
        ("sentencepiece", "llama-default"),
        # Not with mistral: transformers 5 reads its tokenizer.model in another way when
        # mistral-common is installed, which the tests take the file from.
        ("sentencepiece", "llama-tied"),
    ],
)
def test_an_extended_and_trained_model_keeps_everything_on_the_way_back(
    kind: str, name: str, tmp_path: Path
) -> None:
    source = write_model(tmp_path / "hf", KINDS[kind], name)
    extended = add(source, tmp_path / "fg", "eos_token: <|end|>\nregular_tokens: [zqx_token]\n")
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
    result = add(tmp_path / "fg", tmp_path / "back", "pad_token: <|pad|>\n")
    size = len(load_tokenizer(source))
    assert load_tokenizer(result).pad_token_id == size
    assert config(result)["vocab_size"] == size + 1
    old, new = weights(source)[HF_EMBEDDING], weights(result)[HF_EMBEDDING]
    assert torch.equal(new[:size], old)
    assert torch.equal(new[size], torch.zeros(16))


def test_a_second_conversion_changes_nothing(tmp_path: Path) -> None:
    source = write_model(tmp_path / "hf", write_byte_level_bpe)
    yaml = "pad_token: <|pad|>\nspecial_tokens: [<|a|>]\n"
    extended = add(source, tmp_path / "fg", yaml)
    convert(extended, tmp_path / "hf2")
    again = add(tmp_path / "hf2", tmp_path / "fg2", yaml)
    before, after = snapshot(extended), snapshot(again)
    del before["forgather_conversion.json"], after["forgather_conversion.json"]
    assert before == after


def test_files_that_need_not_change_keep_their_bytes(tmp_path: Path) -> None:
    source = write_model(tmp_path / "hf", write_sentencepiece)
    result = add(source, tmp_path / "fg", "special_tokens: [<|a|>]\n")
    name = "tokenizer.model"
    assert (result / name).read_bytes() == (source / name).read_bytes()


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
        add(source, tmp_path / "fg", yaml)
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


def test_a_shared_new_token_begins_as_its_first_name_says(tmp_path: Path) -> None:
    """The end of a text that doubles as padding must not begin as zeros."""
    source = write_model(tmp_path / "hf", write_byte_level_bpe)
    result = add(source, tmp_path / "fg", "eos_token: <|end|>\npad_token: <|end|>\n")
    size = len(load_tokenizer(source))
    assert (config(result)["eos_token_id"], config(result)["pad_token_id"]) == ([size, 3], size)
    old, new = weights(source)[HF_EMBEDDING], weights(result)[EMBEDDING]
    assert len(new) == size + 1
    assert torch.equal(new[size], old.mean(dim=0))


def test_an_old_token_becomes_special(tmp_path: Path) -> None:
    """It keeps id and row, is not split any more, and decoding can leave it out."""
    source = write_model(tmp_path / "hf", write_byte_level_bpe)
    result = add(source, tmp_path / "fg", "special_tokens: [The]\n")
    before, after = load_tokenizer(source), load_tokenizer(result)
    token_id = before.convert_tokens_to_ids("The")
    assert token_id != before.unk_token_id
    ids = after("xThex", add_special_tokens=False)["input_ids"]
    assert token_id in ids
    assert after.decode(ids, skip_special_tokens=True) == "xx"
    assert len(after) == len(before)
    assert torch.equal(weights(result)[EMBEDDING], weights(source)[HF_EMBEDDING])


def test_an_old_piece_of_the_vocabulary_gets_a_new_row(tmp_path: Path) -> None:
    """It stays what it is, a piece with a space in front: texts are split as before."""
    source = write_model(tmp_path / "hf", write_byte_level_bpe)
    yaml = "special_tokens: [<|a|>]\nregular_tokens: [{token: Ġthe, init: zero}]\n"
    result = add(source, tmp_path / "fg", yaml)
    before, after = load_tokenizer(source), load_tokenizer(result)
    token_id = before.convert_tokens_to_ids("Ġthe")
    assert after(TEXTS[0])["input_ids"] == before(TEXTS[0])["input_ids"]
    assert not weights(result)[EMBEDDING][token_id].any()


def test_the_config_learns_what_the_tokenizer_knows(tmp_path: Path) -> None:
    """The tokenizer pads with it already, but the model's config does not say so."""
    source = write_model(tmp_path / "hf", lambda path: write_byte_level_bpe(path, "</s>"))
    result = add(source, tmp_path / "fg", "pad_token: </s>\n")
    assert (config(source)["pad_token_id"], config(result)["pad_token_id"]) == (None, 2)
    assert read_json(result / "generation_config.json")["pad_token_id"] == 2


@pytest.mark.parametrize("name", ["llama-default", "qwen3-tied"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_another_dtype_and_new_tokens_together(name: str, dtype: str, tmp_path: Path) -> None:
    """Averages are taken over what the source has, before it is rounded."""
    other = "bfloat16" if dtype == "float32" else "float32"
    source = write_model(tmp_path / "hf", write_byte_level_bpe, name, dtype=dtype)
    result = add(source, tmp_path / "fg", "bos_token: <|begin|>\n", dtype=other)
    old, new = weights(source)[HF_EMBEDDING], weights(result)[EMBEDDING]
    target = getattr(torch, other)
    assert torch.equal(new[: len(old)], old.to(target))
    assert torch.equal(new[len(old)], old.float().mean(dim=0).to(target))


def test_pytorch_format_and_new_tokens_together(tmp_path: Path) -> None:
    source = write_model(tmp_path / "hf", write_byte_level_bpe)
    yaml = "bos_token: <|begin|>\nspecial_tokens: [<|a|>]\n"
    pickled = add(source, tmp_path / "pt", yaml, weights_format="pytorch")
    expected = weights(add(source, tmp_path / "st", yaml))
    state = torch.load(pickled / "pytorch_model.bin", weights_only=True)
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in expected)


def test_a_sharded_source_keeps_its_division(tmp_path: Path) -> None:
    """Also on the way back: what has not grown is in the file that it was in."""
    source = write_model(tmp_path / "hf", write_byte_level_bpe, shards=3)
    extended = add(source, tmp_path / "fg", "special_tokens: [<|a|>]\n")
    whole = add(
        write_model(tmp_path / "one", write_byte_level_bpe),
        tmp_path / "one-fg",
        "special_tokens: [<|a|>]\n",
    )
    assert len(list(extended.glob("*.safetensors"))) == 3
    new, expected = weights(extended), weights(whole)
    assert all(torch.equal(new[name], expected[name]) for name in expected)
    convert(extended, tmp_path / "back")
    index = "model.safetensors.index.json"
    places = read_json(source / index)["weight_map"]
    assert read_json(tmp_path / "back" / index)["weight_map"] == places
    assert torch.equal(weights(tmp_path / "back")[HF_EMBEDDING], new[EMBEDDING])


@pytest.mark.parametrize(("name", "matrices"), [("llama-default", 2), ("llama-tied", 1)])
def test_only_the_matrices_of_the_vocabulary_are_computed(
    name: str, matrices: int, tmp_path: Path
) -> None:
    """Memory is bounded by them: all other tensors are copied from file to file."""
    source = write_model(tmp_path / "hf", write_byte_level_bpe, name, dtype="bfloat16")
    tensors = plan(source, tmp_path / "fg").tensors
    computed = [tensor for tensor in tensors if describe(tensor.expression)]
    assert len(computed) == matrices
    assert {tensor.name for tensor in computed} <= {EMBEDDING, "lm_head.weight"}
    assert len(tensors) > 20


def test_a_reserved_padding_token_is_not_taken_but_mentioned(tmp_path: Path) -> None:
    source = write_model(tmp_path / "hf", write_byte_level_bpe)
    yaml = "special_tokens: ['<|finetune_right_pad_id|>', '<|eot_id|>']\n"
    reserved = add(source, tmp_path / "reserved", yaml)
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
        add(source, tmp_path / "fg", "bos_token: <|begin|>\n", logit_check=False)
    (line,) = [message for message in messages if "init: {copy" in message]
    assert "<|begin|>" in line
    assert "'init: {copy: \"<s>\"}'" in line
    with logged() as messages:
        add(source, tmp_path / "moved", "bos_token: <unk>\n", logit_check=False)
    assert not [message for message in messages if "copy" in message]


@pytest.mark.parametrize("pad_token", [None, "<unk>"])
def test_spare_rows_are_mentioned(pad_token: str | None, tmp_path: Path) -> None:
    """Whether the tokenizer has to be loaded or not."""
    source = write_model(
        tmp_path / "hf", lambda path: write_byte_level_bpe(path, pad_token), spare=7
    )
    size = len(load_tokenizer(source))
    with logged() as messages:
        plan(source, tmp_path / "fg")
    assert f"The model has {size + 7} rows for the {size} tokens of the tokenizer" in str(messages)


def test_a_tokenizer_with_more_tokens_than_rows(tmp_path: Path) -> None:
    source = write_model(tmp_path / "hf", write_byte_level_bpe, spare=-2)
    size = len(load_tokenizer(source))
    with logged(level=30) as messages:
        result = add(source, tmp_path / "fg", "special_tokens: [<|a|>]\n")
    assert f"has {size} tokens, but the model only {size - 2} rows" in str(messages)
    old, new = weights(source)[HF_EMBEDDING], weights(result)[EMBEDDING]
    assert len(new) == size + 1
    assert all(torch.equal(row, old.mean(dim=0)) for row in new[size - 2 :])


# Tokenizers as different programs write them


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
    result = add(source, tmp_path / "fg", yaml)
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
    result = add(source, tmp_path / "fg", yaml)
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
        add(source, tmp_path / "fg", "special_tokens: [<|a|>]\n")
    assert "cannot be loaded by the installed transformers" in str(error.value)
    assert "TokenizersBackend" in str(error.value)
    with logged(level=30) as messages:
        convert(source, tmp_path / "fg")
    assert "No padding token was added" in messages[0]
    convert(tmp_path / "fg", tmp_path / "back")
    assert differences(source, tmp_path / "back") == []


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
    edit_json(source / "tokenizer_config.json", remove=("pad_token",))
    result = add(source, tmp_path / "fg", "special_tokens: [<|a|>]\n")
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
    result = add(tmp_path / "fg", tmp_path / "back", "pad_token: <|pad|>\n")
    before, after = load_tokenizer(source), load_tokenizer(result)
    assert after.pad_token_id == 32000
    for text in TEXTS:
        assert after(text)["input_ids"] == before(text)["input_ids"]


def test_a_source_without_a_tokenizer(tmp_path: Path) -> None:
    source = write_model(tmp_path / "hf", lambda path: 40)
    with pytest.raises(SourceError, match="has no tokenizer"):
        add(source, tmp_path / "fg", "special_tokens: [<|a|>]\n")
    convert(source, tmp_path / "fg")
    assert config(tmp_path / "fg")["vocab_size"] == 40
