"""Vocabulary extension with real tokenizers: ids, rows, files, and the way back."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from forgather_convert import ConvertOptions, OptionError, convert
from support.directories import differences, snapshot
from support.models import load_forgather, load_hf, write_hf_model
from support.tokenizers import write_byte_level_bpe, write_sentencepiece, write_unigram
from support.variants import variant

TEXTS = [
    "The old bridge crosses the river.",
    "  naïve 東京\n\ttabs 0123",
    "def convert(x): return [x]",
]
EMBEDDING = "causal_lm.input_encoder.embedding.word_embedding.weight"
HF_EMBEDDING = "model.embed_tokens.weight"

WriteTokenizer = Callable[[Path], int]
KINDS = {
    "bpe": write_byte_level_bpe,
    "unigram": write_unigram,
    "sentencepiece": write_sentencepiece,
}


def write_model(
    directory: Path,
    write_tokenizer: WriteTokenizer,
    name: str = "llama-default",
    spare: int = 0,
    dtype: str = "float32",
    **fields: Any,
) -> Path:
    """Writes a model whose vocabulary is the tokenizer's, with some spare rows."""
    scratch = directory.with_name(directory.name + "-tokenizer")
    scratch.mkdir(parents=True)
    size = write_tokenizer(scratch)
    base = variant(name)
    small = {"hidden_size": 16, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8}
    fields = {"vocab_size": size + spare, "pad_token_id": None, **small, **fields}
    model = dataclasses.replace(base, fields={**base.fields, **fields})
    write_hf_model(directory, model, dtype=dtype)
    for path in scratch.iterdir():
        path.rename(directory / path.name)
    return directory


def load_tokenizer(directory: Path) -> Any:
    return AutoTokenizer.from_pretrained(directory, trust_remote_code=True, local_files_only=True)


def config(directory: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((directory / "config.json").read_text())
    return content


def add(source: Path, destination: Path, yaml: str, **options: Any) -> Path:
    """Converts with a token file."""
    path = destination.with_name(destination.name + ".yaml")
    path.write_text(yaml)
    convert(source, destination, ConvertOptions(token_file=path, **options))
    return destination


def weights(directory: Path) -> dict[str, torch.Tensor]:
    return load_file(directory / "model.safetensors")


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
