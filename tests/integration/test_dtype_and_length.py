"""The dtype of the result, and its length."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from forgather_convert import ConvertOptions, convert, plan
from support.command import run_convert
from support.converting import edit_config, logits_of, read_config
from support.directories import differences
from support.log import logged
from support.models import load_forgather, load_hf, random_state, write_hf_model
from support.tokenizer_files import write_tokenizer
from support.variants import variant

pytestmark = pytest.mark.version_independent

LLAMA = variant("llama-default")
EMBEDDING = "causal_lm.input_encoder.embedding.word_embedding.weight"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_hf_model(tmp_path / "hf", LLAMA, dtype="bfloat16")


def stored_dtypes(directory: Path) -> set[str]:
    """The types that a directory's weights are stored in, by safetensors' names."""
    found = set()
    for path in directory.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            found |= {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    return found


@pytest.mark.parametrize(
    ("option", "fields", "expected"),
    [
        ("float16", {"dtype": "float32", "torch_dtype": "bfloat16"}, "float16"),
        (None, {"dtype": "float32", "torch_dtype": "bfloat16"}, "float32"),
        (None, {"torch_dtype": "float16"}, "float16"),
        (None, {"torch_dtype": "torch.float16"}, "float16"),
        (None, {"dtype": None, "torch_dtype": "float16"}, "float16"),
        (None, {"dtype": "auto"}, "bfloat16"),
        (None, {}, "bfloat16"),
    ],
)
@pytest.mark.parametrize("direction", ["to_forgather", "from_forgather"])
def test_dtype_priority(
    option: str | None, fields: dict[str, Any], expected: str, direction: str, tmp_path: Path
) -> None:
    """Option, ``dtype``, ``torch_dtype``, bfloat16; the config of the output says which."""
    source = write_hf_model(tmp_path / "hf", LLAMA, dtype="float32")
    if direction == "from_forgather":
        convert(source, tmp_path / "fg")
        source = tmp_path / "fg"
    edit_config(source, ("dtype",))
    edit_config(source, **fields)
    convert(source, tmp_path / "out", ConvertOptions(dtype=option))
    config = read_config(tmp_path / "out")
    assert config.get("dtype") == expected
    assert config.get("torch_dtype") in (None, expected)


def test_dtype_of_the_weights(tmp_path: Path) -> None:
    """The values are rounded as torch rounds them."""
    state = random_state(LLAMA, torch.float32)
    source = write_hf_model(tmp_path / "hf", LLAMA, dtype="float32", state=state)
    result = run_convert("--dtype", "float16", source, tmp_path / "fg")
    assert "Logits are identical" in result.stderr
    assert stored_dtypes(tmp_path / "fg") == {"F16"}
    with safe_open(tmp_path / "fg" / "model.safetensors", framework="pt") as file:
        expected = state["model.embed_tokens.weight"].half()
        assert torch.equal(file.get_tensor(EMBEDDING), expected)


def test_default_dtype_is_applied_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = write_hf_model(tmp_path / "hf", LLAMA, dtype="float32")
    edit_config(source, ("dtype",))
    with caplog.at_level(logging.WARNING):
        convert(source, tmp_path / "fg")
    assert stored_dtypes(tmp_path / "fg") == {"BF16"}
    assert any("--dtype" in message for message in caplog.messages)


LENGTH_VARIANTS = ["llama-default", "llama-linear", "llama-yarn", "llama-longrope", "llama-llama3"]


@pytest.mark.parametrize("name", [*LENGTH_VARIANTS, "mistral-window", "qwen3-window-by-layer"])
def test_max_length_changes_the_length_only(name: str, tmp_path: Path) -> None:
    """What RoPE derives from the length stays as it was: the weights were trained with it."""
    source = write_hf_model(tmp_path / "hf", variant(name), dtype="float32")
    convert(source, tmp_path / "fg")
    options = ConvertOptions(max_length=512)
    convert(source, tmp_path / "long-fg", options)
    convert(tmp_path / "fg", tmp_path / "long-hf", options)

    for plain, changed in ((tmp_path / "fg", tmp_path / "long-fg"), (source, tmp_path / "long-hf")):
        expected, config = read_config(plain), read_config(changed)
        expected["max_position_embeddings"] = 512
        # The names of the code's files tell its content, in which the length is a default.
        expected.pop("auto_map", None)
        config.pop("auto_map", None)
        for field in ("rope_scaling", "rope_parameters"):
            if expected[field] is not None:
                # What followed from the old length is written down now; the rest is the same.
                expected[field] = {**config[field], **expected[field]}
        assert config == expected
    before = logits_of(load_hf(source, variant(name).family))
    assert torch.equal(logits_of(load_forgather(tmp_path / "long-fg")), before)
    assert torch.equal(logits_of(load_hf(tmp_path / "long-hf", variant(name).family)), before)


def test_length_comes_back(tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", LLAMA, dtype="bfloat16")
    convert(source, tmp_path / "fg", ConvertOptions(max_length=512))
    convert(tmp_path / "fg", tmp_path / "back", ConvertOptions(max_length=128))
    assert differences(source, tmp_path / "back") == []


def test_numbers_that_become_infinite_are_counted(tmp_path: Path) -> None:
    """A warning names their tensor, also where nothing is checked."""
    state = random_state(variant("llama-mha"), torch.bfloat16)
    state["model.norm.weight"][:5] = 1e6
    source = write_hf_model(tmp_path / "hf", variant("llama-mha"), dtype="bfloat16", state=state)
    with logged(logging.WARNING) as warnings:
        convert(source, tmp_path / "fg", ConvertOptions(dtype="float16", logit_check=False))
    assert [message for message in warnings if "infinite" in message] == [
        "5 values of causal_lm.layer_stack.layer_norm.weight are too large for float16 and "
        "became infinite"
    ]


def test_the_length_of_the_tokenizer_stays(source: Path, tmp_path: Path) -> None:
    write_tokenizer(source)
    path = source / "tokenizer_config.json"
    content = json.loads(path.read_text())
    said = []
    for number, length in enumerate((10**30, 64, 32)):
        path.write_text(json.dumps({**content, "model_max_length": length}))
        with logged(logging.WARNING) as messages:
            plan(source, tmp_path / str(number), ConvertOptions(max_length=64))
        said.append([text for text in messages if "model_max_length" in text])
    assert said[:2] == [[], []]
    (text,) = said[2]
    assert "'model_max_length' of 32" in text
    assert "tokenizer_config.json" in text
