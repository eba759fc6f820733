"""What the rows of an extended vocabulary are, whatever the files and types they are in."""

from pathlib import Path

import pytest
import torch

from forgather_convert import ConvertOptions, convert, plan
from forgather_convert.tensors.expressions import describe
from support.directories import differences
from support.log import logged
from support.tokenizers import write_byte_level_bpe
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

pytestmark = pytest.mark.version_independent


@pytest.mark.parametrize("name", ["llama-default", "qwen3-tied"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_rows_are_what_their_init_promises(name: str, dtype: str, tmp_path: Path) -> None:
    source = write_model(tmp_path / "hf", write_byte_level_bpe, name, dtype=dtype)
    result = add_tokens(
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
        results.append(add_tokens(source, tmp_path / f"fg{seed}", yaml))
    assert differences(*results) == []


def test_spare_rows_are_taken_first_and_never_cut(tmp_path: Path) -> None:
    """Qwen3 has 151936 rows for 151669 tokens; tools that cut the rest lose live rows."""
    source = write_model(tmp_path / "hf", write_byte_level_bpe, "qwen3-untied", spare=5)
    result = add_tokens(source, tmp_path / "fg", "special_tokens: [<|a|>, <|b|>]\n")
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
    result = add_tokens(
        source, tmp_path / "fg", "special_tokens: [<|a|>]\n", pad_vocab_to_multiple_of=64
    )
    assert config(result)["vocab_size"] == -(-(size + 1) // 64) * 64
    assert len(load_tokenizer(result)) == size + 1
    plain = tmp_path / "plain"
    convert(source, plain, ConvertOptions(pad_vocab_to_multiple_of=64, skip_default_tokens=True))
    assert config(plain)["vocab_size"] == -(-size // 64) * 64


def test_an_existing_token_with_an_init_gets_a_new_row(tmp_path: Path) -> None:
    source = write_model(tmp_path / "hf", write_byte_level_bpe)
    yaml = "pad_token:\n  token: <unk>\n  init: zero\n"
    result = add_tokens(source, tmp_path / "fg", yaml)
    old, new = weights(source)[HF_EMBEDDING], weights(result)[EMBEDDING]
    assert torch.equal(new[0], torch.zeros_like(new[0]))
    assert torch.equal(new[1:], old[1:])


def test_a_shared_new_token_begins_as_its_first_name_says(tmp_path: Path) -> None:
    """The end of a text that doubles as padding must not begin as zeros."""
    source = write_model(tmp_path / "hf", write_byte_level_bpe)
    result = add_tokens(source, tmp_path / "fg", "eos_token: <|end|>\npad_token: <|end|>\n")
    size = len(load_tokenizer(source))
    assert (config(result)["eos_token_id"], config(result)["pad_token_id"]) == ([size, 3], size)
    old, new = weights(source)[HF_EMBEDDING], weights(result)[EMBEDDING]
    assert len(new) == size + 1
    assert torch.equal(new[size], old.mean(dim=0))


def test_an_old_piece_of_the_vocabulary_gets_a_new_row(tmp_path: Path) -> None:
    """It stays what it is, a piece with a space in front: texts are split as before."""
    source = write_model(tmp_path / "hf", write_byte_level_bpe)
    yaml = "special_tokens: [<|a|>]\nregular_tokens: [{token: Ġthe, init: zero}]\n"
    result = add_tokens(source, tmp_path / "fg", yaml)
    before, after = load_tokenizer(source), load_tokenizer(result)
    token_id = before.convert_tokens_to_ids("Ġthe")
    assert after(TEXTS[0])["input_ids"] == before(TEXTS[0])["input_ids"]
    assert not weights(result)[EMBEDDING][token_id].any()


@pytest.mark.parametrize("name", ["llama-default", "qwen3-tied"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_another_dtype_and_new_tokens_together(name: str, dtype: str, tmp_path: Path) -> None:
    """Averages are taken over what the source has, before it is rounded."""
    other = "bfloat16" if dtype == "float32" else "float32"
    source = write_model(tmp_path / "hf", write_byte_level_bpe, name, dtype=dtype)
    result = add_tokens(source, tmp_path / "fg", "bos_token: <|begin|>\n", dtype=other)
    old, new = weights(source)[HF_EMBEDDING], weights(result)[EMBEDDING]
    target = getattr(torch, other)
    assert torch.equal(new[: len(old)], old.to(target))
    assert torch.equal(new[len(old)], old.float().mean(dim=0).to(target))


def test_pytorch_format_and_new_tokens_together(tmp_path: Path) -> None:
    source = write_model(tmp_path / "hf", write_byte_level_bpe)
    yaml = "bos_token: <|begin|>\nspecial_tokens: [<|a|>]\n"
    pickled = add_tokens(source, tmp_path / "pt", yaml, weights_format="pytorch")
    expected = weights(add_tokens(source, tmp_path / "st", yaml))
    state = torch.load(pickled / "pytorch_model-00001-of-00001.bin", weights_only=True)
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in expected)


def test_a_sharded_source_keeps_its_division(tmp_path: Path) -> None:
    """Also in the reverse conversion: what has not grown is in the file that it was in."""
    source = write_model(tmp_path / "hf", write_byte_level_bpe, shards=3)
    extended = add_tokens(source, tmp_path / "fg", "special_tokens: [<|a|>]\n")
    whole = add_tokens(
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


@pytest.mark.parametrize("pad_token", [None, "<unk>"])
def test_spare_rows_are_mentioned(pad_token: str | None, tmp_path: Path) -> None:
    """Whether the tokenizer has to be loaded or not."""
    source = write_model(
        tmp_path / "hf", lambda path: write_byte_level_bpe(path, pad_token), spare=7
    )
    size = len(load_tokenizer(source))
    with logged() as messages:
        plan(source, tmp_path / "fg")
    assert f"The model has {size + 7} vocabulary rows for the tokenizer's {size} tokens" in str(
        messages
    )


def test_a_tokenizer_with_more_tokens_than_rows(tmp_path: Path) -> None:
    source = write_model(tmp_path / "hf", write_byte_level_bpe, spare=-2)
    size = len(load_tokenizer(source))
    with logged(level=30) as messages:
        result = add_tokens(source, tmp_path / "fg", "special_tokens: [<|a|>]\n")
    assert f"has {size} tokens, but the model has only {size - 2} vocabulary rows" in str(messages)
    old, new = weights(source)[HF_EMBEDDING], weights(result)[EMBEDDING]
    assert len(new) == size + 1
    assert all(torch.equal(row, old.mean(dim=0)) for row in new[size - 2 :])
