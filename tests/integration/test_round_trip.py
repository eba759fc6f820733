"""HF -> FG -> HF gives back the same bytes."""

import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from forgather_convert import ConvertOptions, convert
from support.directories import differences
from support.log import logged
from support.models import random_state, write_hf_model, write_weights
from support.safetensors_writer import read_header_bytes, write_safetensors
from support.tokenizer_files import write_tokenizer
from support.variants import PLAIN, VARIANTS, Variant, variant

_LLAMA = variant("llama-default")
_TIED = variant("llama-tied")
_HEAD = "lm_head.weight"
_EMBEDDING = "model.embed_tokens.weight"


def _name(value: object) -> str | None:
    return value.id if isinstance(value, Variant) else None


def _convert(source: Path, destination: Path, **options: Any) -> Path:
    """Converts without the logit check, where only files are looked at."""
    convert(source, destination, ConvertOptions(logit_check=False, **options))
    return destination


def _there_and_back(source: Path, **options: Any) -> Path:
    """Converts a model to Forgather, with options, and back without any."""
    fg = _convert(source, source.with_name("fg"), **options)
    return _convert(fg, source.with_name("back"))


def _checked_there_and_back(source: Path) -> Path:
    """As a user converts, so that what other tools wrote has to load, too."""
    convert(source, source.with_name("fg"))
    convert(source.with_name("fg"), source.with_name("back"))
    return source.with_name("back")


def _layer_norms_as_float32(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.float() if "norm" in name else value for name, value in state.items()}


@pytest.mark.parametrize("variant", VARIANTS, ids=_name)
def test_round_trip_is_byte_identical(variant: Variant, tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", variant, dtype="bfloat16")
    assert differences(source, _checked_there_and_back(source)) == []


@pytest.mark.parametrize("variant", [*PLAIN, _TIED], ids=_name)
def test_sharded_round_trip_is_byte_identical(variant: Variant, tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", variant, dtype="bfloat16", shards=3)
    assert differences(source, _checked_there_and_back(source)) == []


# Files beside config and weights


def test_unknown_files_come_back(tmp_path: Path) -> None:
    """Whatever lies in the directory is the user's; the tool does not judge it."""
    source = write_hf_model(tmp_path / "hf", _LLAMA)
    (source / "README.md").write_bytes("# Modèle\r\n".encode())
    (source / "LICENSE").write_text("All rights, all wrongs.\n")
    (source / ".gitattributes").write_text("*.safetensors filter=lfs\n")
    (source / "picture.png").write_bytes(bytes(range(256)) * 3)
    (source / "modeling_custom.py").write_text("raise RuntimeError('not to be run')\n")
    (source / "handler.py").write_text("")
    (source / "no-suffix").write_bytes(b"")
    (source / "name with späces.txt").write_text("x")
    assert differences(source, _there_and_back(source)) == []


def test_executable_files_stay_executable(tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", _LLAMA)
    script = source / "serve.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    back = _there_and_back(source)
    assert os.access(tmp_path / "fg" / "serve.sh", os.X_OK)
    assert stat.S_IMODE((back / "serve.sh").stat().st_mode) == 0o755


@pytest.mark.parametrize("shards", [1, 2])
def test_links_of_the_hub_cache_become_files(shards: int, tmp_path: Path) -> None:
    """In the cache every file is a link into ``blobs``, by names that end in nothing."""
    plain = write_hf_model(tmp_path / "plain", _LLAMA, shards=shards)
    write_tokenizer(plain)
    blobs = tmp_path / "models--org--name" / "blobs"
    source = tmp_path / "models--org--name" / "snapshots" / "0a1b2c"
    source.mkdir(parents=True)
    blobs.mkdir()
    for number, path in enumerate(sorted(plain.iterdir())):
        shutil.copy(path, blobs / f"{number:064x}")
        (source / path.name).symlink_to(Path("..", "..", "blobs", f"{number:064x}"))
    fg = _convert(source, tmp_path / "fg")
    back = _convert(fg, tmp_path / "back")
    assert differences(plain, back) == []
    assert not any(path.is_symlink() for directory in (fg, back) for path in directory.iterdir())


@pytest.mark.parametrize("pad_token", ["<unk>", None])
def test_tokenizer_files_come_back(pad_token: str | None, tmp_path: Path) -> None:
    """They are in the Forgather model too, to the byte: it is trained with them."""
    source = write_hf_model(tmp_path / "hf", _LLAMA)
    write_tokenizer(source, pad_token)
    convert(source, tmp_path / "fg", ConvertOptions(skip_default_tokens=pad_token is None))
    convert(tmp_path / "fg", tmp_path / "back")
    assert differences(source, tmp_path / "back") == []
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (tmp_path / "fg" / name).read_bytes() == (source / name).read_bytes()


def test_generation_config_comes_back(tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", _LLAMA)
    (source / "generation_config.json").write_bytes(
        b'{"eos_token_id":[2,  3],\t"temperature": 0.60, "do_sample": true,\r\n "custom": null}'
    )
    assert differences(source, _checked_there_and_back(source)) == []


def test_other_formats_and_folders_are_named_and_left_out(tmp_path: Path) -> None:
    """They are not lost in silence."""
    source = write_hf_model(tmp_path / "hf", _LLAMA)
    shutil.copytree(source, tmp_path / "expected")
    left_out = [
        "consolidated.00.pth",
        "consolidated.safetensors",
        "ggml-model-q4_0.gguf",
        "model.onnx",
        "pytorch_model.bin",
        "tf_model.h5",
    ]
    for name in left_out:
        (source / name).write_bytes(b"weights")
    (source / "original").mkdir()
    (source / "original" / "params.json").write_text("{}")
    with logged() as messages:
        back = _there_and_back(source)
    assert differences(tmp_path / "expected", back) == []
    (message,) = [text for text in messages if text.startswith("Not carried along")]
    assert all(name in message for name in [*left_out, "original"])


# config.json


def _with_crlf(config: dict[str, Any]) -> str:
    return json.dumps(config, indent=2).replace("\n", "\r\n") + "\r\n"


def _with_tabs(config: dict[str, Any]) -> str:
    return json.dumps(config, indent="\t", separators=(" , ", " : ")) + "\n\n"


def _in_one_line(config: dict[str, Any]) -> str:
    return json.dumps(config, separators=(",", ":"))


def _in_reverse_order(config: dict[str, Any]) -> str:
    return json.dumps(dict(reversed(config.items())), indent=3)


def _with_non_ascii(config: dict[str, Any]) -> str:
    config = {"_name_or_path": "/données/modèle", **config, "anmerkung": "größer, 更大 🦙"}
    return json.dumps(config, indent=2, ensure_ascii=False)


def _with_escapes(config: dict[str, Any]) -> str:
    return json.dumps({**config, "note": "größer 🦙"}, indent=2, ensure_ascii=True)


def _with_odd_numbers(config: dict[str, Any]) -> str:
    return _in_one_line(config).replace('"rms_norm_eps":1e-06', '"rms_norm_eps":0.10E-05')


def _with_custom_fields(config: dict[str, Any]) -> str:
    custom = {
        "_name_or_path": "org/name",
        "auto_map": {"AutoConfig": "configuration_custom.CustomConfig"},
        "custom_list": [1, 2.5, None, {"deep": []}],
        "custom_object": {"b": 1, "a": {"rope_theta": 5}},
        "pretraining_tp": 1,
        "transformers_version": "4.31.0.dev0",
        "unsloth_version": "2024.9",
        "task_specific_params": {"summarize": {"num_beams": 4}},
    }
    return json.dumps({**config, **custom}, indent=2) + "\n"


@pytest.mark.parametrize(
    "write",
    [
        _with_crlf,
        _with_tabs,
        _in_one_line,
        _in_reverse_order,
        _with_non_ascii,
        _with_escapes,
        _with_odd_numbers,
        _with_custom_fields,
    ],
    ids=lambda write: write.__name__.removeprefix("_"),
)
def test_config_text_comes_back(write: Callable[[dict[str, Any]], str], tmp_path: Path) -> None:
    """The text, not its meaning: people diff configs, and hash them."""
    source = write_hf_model(tmp_path / "hf", _LLAMA)
    config = json.loads((source / "config.json").read_text())
    text = write(config)
    assert all(json.loads(text)[name] == value for name, value in config.items())
    (source / "config.json").write_bytes(text.encode("utf-8"))
    assert differences(source, _there_and_back(source)) == []


def test_custom_fields_are_in_the_forgather_config(tmp_path: Path) -> None:
    """Training code that looks for them finds them."""
    config = {**_LLAMA.config(), "custom": {"deep": [1, 2]}}
    fg = _convert(write_hf_model(tmp_path / "hf", _LLAMA, config=config), tmp_path / "fg")
    assert json.loads((fg / "config.json").read_text())["custom"] == {"deep": [1, 2]}


@pytest.mark.parametrize("schema", ["4", "5"])
@pytest.mark.parametrize(
    "variant",
    [*PLAIN, variant("llama-llama3"), variant("llama-longrope"), variant("qwen3-yarn")],
    ids=_name,
)
def test_configs_of_both_transformers_come_back(
    variant: Variant, schema: str, tmp_path: Path
) -> None:
    """Neither version writes the other's fields, and none is added or translated."""
    source = write_hf_model(tmp_path / "hf", variant, schema=schema)
    assert differences(source, _checked_there_and_back(source)) == []


def _without_architectures(config: dict[str, Any]) -> None:
    del config["architectures"]


def _with_torch_dtype(config: dict[str, Any]) -> None:
    config["torch_dtype"] = config.pop("dtype")


def _with_both_dtypes(config: dict[str, Any]) -> None:
    config["torch_dtype"] = config["dtype"]


def _with_the_old_rope_key(config: dict[str, Any]) -> None:
    del config["rope_parameters"]
    config["rope_scaling"] = {"type": "linear", "factor": 2.0}


def _with_both_rope_keys(config: dict[str, Any]) -> None:
    del config["rope_parameters"]
    config["rope_scaling"] = {"type": "linear", "rope_type": "linear", "factor": 2.0}


def _with_one_eos(config: dict[str, Any]) -> None:
    config["eos_token_id"] = 2


def _without_what_has_a_default(config: dict[str, Any]) -> None:
    for name in ("hidden_act", "use_cache", "tie_word_embeddings", "pad_token_id", "rope_scaling"):
        del config[name]


@pytest.mark.parametrize(
    "change",
    [
        _without_architectures,
        _with_torch_dtype,
        _with_both_dtypes,
        _with_the_old_rope_key,
        _with_both_rope_keys,
        _with_one_eos,
        _without_what_has_a_default,
    ],
    ids=lambda change: change.__name__.removeprefix("_"),
)
def test_older_and_shorter_configs_come_back(
    change: Callable[[dict[str, Any]], None], tmp_path: Path
) -> None:
    config = {**_LLAMA.config(), "dtype": "bfloat16"}
    change(config)
    source = write_hf_model(tmp_path / "hf", _LLAMA, dtype="bfloat16", config=config)
    assert differences(source, _checked_there_and_back(source)) == []


# Weights files


@pytest.mark.parametrize(
    "style",
    [
        {"length_modulo_8": 3},
        {"more_spaces": 1000},
        {"header_reversed": True},
        {"metadata_last": True, "header_reversed": True, "length_modulo_8": 5},
        {"metadata": {"format": "pt", "trained_by": "Zoë", "step": "7"}},
        {"metadata": None},
        {"metadata": {}},
        {"separators": (", ", ": ")},
    ],
    ids=str,
)
def test_headers_come_back(style: dict[str, Any], tmp_path: Path) -> None:
    """Legal headers that transformers itself would not write."""
    source = write_hf_model(tmp_path / "hf", _LLAMA, dtype="bfloat16")
    state = random_state(_LLAMA, torch.bfloat16)
    write_safetensors(source / "model.safetensors", state, **style)
    assert differences(source, _checked_there_and_back(source)) == []


def test_the_order_of_bytes_comes_back(tmp_path: Path) -> None:
    """Order by size, by name, by layer: tools do not agree on one."""
    state = random_state(_LLAMA, torch.bfloat16)
    scattered = dict(sorted(state.items(), key=lambda item: item[0][::-1]))
    assert list(scattered) not in (list(state), sorted(state))
    source = write_hf_model(tmp_path / "hf", _LLAMA, dtype="bfloat16")
    write_safetensors(source / "model.safetensors", scattered)
    assert differences(source, _there_and_back(source)) == []


def test_the_index_comes_back(tmp_path: Path) -> None:
    """With what other tools note in it, and with file names of their own."""
    source = write_hf_model(tmp_path / "hf", _LLAMA, shards=2)
    path = source / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["metadata"].update(total_parameters=123, tool="großes Werkzeug")
    index["custom"] = [1, 2]
    for number, name in enumerate(sorted(set(index["weight_map"].values()))):
        (source / name).rename(source / f"part.{number}.safetensors")
        for tensor, file_name in index["weight_map"].items():
            if file_name == name:
                index["weight_map"][tensor] = f"part.{number}.safetensors"
    path.write_bytes(json.dumps(index, indent=1, ensure_ascii=False).encode("utf-8"))
    assert differences(source, _checked_there_and_back(source)) == []


def test_an_index_of_one_file_comes_back(tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", _LLAMA)
    name = "model-00001-of-00001.safetensors"
    (source / "model.safetensors").rename(source / name)
    weight_map = dict.fromkeys(random_state(_LLAMA, torch.float32), name)
    index = {"metadata": {}, "weight_map": weight_map}
    (source / "model.safetensors.index.json").write_text(json.dumps(index))
    assert differences(source, _checked_there_and_back(source)) == []


@pytest.mark.parametrize("variant", PLAIN, ids=_name)
def test_mixed_dtypes_come_back(variant: Variant, tmp_path: Path) -> None:
    """Norms are often kept in float32 in a bfloat16 model."""
    state = _layer_norms_as_float32(random_state(variant, torch.bfloat16))
    source = write_hf_model(tmp_path / "hf", variant, dtype="bfloat16", state=state)
    back = _checked_there_and_back(source)
    fg = load_file(tmp_path / "fg" / "model.safetensors")
    assert fg["causal_lm.layer_stack.layer_norm.weight"].dtype == torch.float32
    assert fg["lm_head.weight"].dtype == torch.bfloat16
    assert differences(source, back) == []


@pytest.mark.parametrize("shards", [1, 3])
def test_stored_rope_frequencies_come_back(shards: int, tmp_path: Path) -> None:
    """Old checkpoints have them; the Forgather model computes its own."""
    state = random_state(_LLAMA, torch.bfloat16)
    for layer in range(3):
        name = f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"
        state[name] = torch.rand(8, generator=torch.Generator().manual_seed(layer))
    source = write_hf_model(tmp_path / "hf", _LLAMA, "bfloat16", state=state, shards=shards)
    back = _checked_there_and_back(source)
    tensors = [load_file(path) for path in (tmp_path / "fg").glob("*.safetensors")]
    assert not any("inv_freq" in name for part in tensors for name in part)
    assert differences(source, back) == []


@pytest.mark.parametrize("shards", [1, 2])
def test_a_tied_head_that_is_stored_too_comes_back(shards: int, tmp_path: Path) -> None:
    state = random_state(_TIED, torch.bfloat16)
    state[_HEAD] = state[_EMBEDDING].clone()
    source = write_hf_model(tmp_path / "hf", _TIED, "bfloat16", state=state, shards=shards)
    assert differences(source, _checked_there_and_back(source)) == []


def test_a_tied_model_that_stores_only_its_head_comes_back(tmp_path: Path) -> None:
    """It is what transformers 5 reads, and version 4 does not."""
    state = random_state(_TIED, torch.bfloat16)
    state[_HEAD] = state.pop(_EMBEDDING)
    source = write_hf_model(tmp_path / "hf", _TIED, dtype="bfloat16", state=state)
    assert differences(source, _checked_there_and_back(source)) == []


def test_the_division_of_the_forgather_model_does_not_matter(tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", _LLAMA, dtype="bfloat16")
    back = _there_and_back(source, max_shard_size=20_000)
    assert len(list((tmp_path / "fg").glob("model-*.safetensors"))) > 3
    assert differences(source, back) == []


@pytest.mark.parametrize("variant", [*PLAIN, _TIED], ids=_name)
@pytest.mark.parametrize("shards", [1, 2])
def test_a_forgather_model_in_pytorch_format_comes_back(
    variant: Variant, shards: int, tmp_path: Path
) -> None:
    source = write_hf_model(tmp_path / "hf", variant, dtype="bfloat16", shards=shards)
    back = _there_and_back(source, weights_format="pytorch")
    assert list((tmp_path / "fg").glob("pytorch_model*.bin"))
    assert not list((tmp_path / "fg").glob("*.safetensors"))
    assert differences(source, back) == []


@pytest.mark.parametrize("variant", [*PLAIN, _TIED], ids=_name)
@pytest.mark.parametrize("shards", [1, 3])
def test_pytorch_weights_come_back_as_safetensors(
    variant: Variant, shards: int, tmp_path: Path
) -> None:
    """The same tensors, in a format that runs nothing; all else is as it was."""
    state = random_state(variant, torch.bfloat16)
    source = write_hf_model(
        tmp_path / "hf", variant, "bfloat16", state=state, shards=shards, weights_format="pytorch"
    )
    back = _checked_there_and_back(source)
    _assert_equal_tensors(load_file(back / "model.safetensors"), state)
    changed = {path.name for path in source.glob("pytorch_model*")} | {"model.safetensors"}
    assert {text.split(": ")[1] for text in differences(source, back)} == changed


# Changed weights and dtypes


def _rewrite_as_one_file(fg: Path, state: dict[str, torch.Tensor]) -> None:
    write_weights(fg, state)


def _rewrite_as_shards(fg: Path, state: dict[str, torch.Tensor]) -> None:
    write_weights(fg, state, shards=4)


def _rewrite_as_pytorch(fg: Path, state: dict[str, torch.Tensor]) -> None:
    write_weights(fg, state, shards=2, weights_format="pytorch")


def _rewrite_as_checkpoint(fg: Path, state: dict[str, torch.Tensor]) -> None:
    (fg / "checkpoints" / "checkpoint-5").mkdir(parents=True)
    write_weights(fg / "checkpoints" / "checkpoint-5", state, shards=2)


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize(
    "rewrite",
    [_rewrite_as_one_file, _rewrite_as_shards, _rewrite_as_pytorch, _rewrite_as_checkpoint],
    ids=lambda rewrite: rewrite.__name__.removeprefix("_rewrite_as_"),
)
def test_changed_weights_come_back_in_the_original_layout(
    rewrite: Callable[[Path, dict[str, torch.Tensor]], None], shards: int, tmp_path: Path
) -> None:
    """Training changes values only: the result is what the source would be with them."""
    for name, seed in (("before", 1), ("after", 2)):
        source = write_hf_model(
            tmp_path / name / "hf",
            _TIED,
            dtype="bfloat16",
            state=random_state(_TIED, torch.bfloat16, seed),
            shards=shards,
        )
        (source / "README.md").write_text("The same in both.\n")
        _convert(source, tmp_path / name / "fg")
    fg = tmp_path / "before" / "fg"
    trained = {
        name: tensor
        for path in (tmp_path / "after" / "fg").glob("*.safetensors")
        for name, tensor in load_file(path).items()
    }
    for path in fg.glob("model*"):
        path.unlink()
    rewrite(fg, trained)
    convert(fg, tmp_path / "back")
    assert differences(tmp_path / "after" / "hf", tmp_path / "back") == []


def test_one_changed_value_comes_back(tmp_path: Path) -> None:
    """The smallest training step: headers stay, and one element of one tensor differs."""
    source = write_hf_model(tmp_path / "hf", _LLAMA, dtype="bfloat16")
    fg = _convert(source, tmp_path / "fg")
    state = {name: tensor.clone() for name, tensor in load_file(fg / "model.safetensors").items()}
    state["causal_lm.layer_stack.layers.1.attention.key_linear.weight"][3, 5] = 123.0
    write_weights(fg, state)
    back = _convert(fg, tmp_path / "back")
    assert differences(source, back) == ["differs: model.safetensors"]
    one, other = source / "model.safetensors", back / "model.safetensors"
    assert read_header_bytes(one) == read_header_bytes(other)
    expected = {name: tensor.clone() for name, tensor in load_file(one).items()}
    expected["model.layers.1.self_attn.k_proj.weight"][3, 5] = 123.0
    _assert_equal_tensors(load_file(other), expected)


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("variant", PLAIN, ids=_name)
def test_training_in_float32_and_back_loses_nothing(
    variant: Variant, shards: int, tmp_path: Path
) -> None:
    """Every bfloat16 value is a float32 value."""
    source = write_hf_model(tmp_path / "hf", variant, dtype="bfloat16", shards=shards)
    fg = _convert(source, tmp_path / "fg", dtype="float32")
    tensors = [load_file(path) for path in fg.glob("*.safetensors")]
    assert {tensor.dtype for part in tensors for tensor in part.values()} == {torch.float32}
    back = _convert(fg, tmp_path / "back", dtype="bfloat16")
    assert differences(source, back) == []


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("weights_format", ["safetensors", "pytorch"])
def test_casts_round_as_torch_does(dtype: str, weights_format: str, tmp_path: Path) -> None:
    """Bit for bit, also what is not finite, subnormal, or halfway between two values."""
    state = random_state(_LLAMA, torch.float32)
    special = torch.tensor([1e-40, -1e-45, 3.4e38, 65520.0, 1.00390625, 1.01171875, -0.0, 1e-7])
    special = torch.cat([special, torch.tensor([float("inf"), float("-inf"), float("nan")])])
    state["model.layers.0.mlp.up_proj.weight"][0, : len(special)] = special
    source = write_hf_model(tmp_path / "hf", _LLAMA, state=state)
    fg = _convert(source, tmp_path / "fg", dtype=dtype, weights_format=weights_format)
    back = _convert(fg, tmp_path / "back")
    expected = {name: tensor.to(getattr(torch, dtype)) for name, tensor in state.items()}
    _assert_equal_tensors(load_file(back / "model.safetensors"), expected)
    before, after = (json.loads((path / "config.json").read_text()) for path in (source, back))
    assert after == {**before, "dtype": dtype}


def _assert_equal_tensors(
    actual: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]
) -> None:
    """Names, shapes, dtypes and bits are the same; NaN equals itself."""
    assert actual.keys() == expected.keys()
    for name, tensor in expected.items():
        assert actual[name].dtype == tensor.dtype, name
        assert actual[name].shape == tensor.shape, name
        bits = [part.reshape(-1).view(torch.uint8) for part in (actual[name], tensor)]
        assert torch.equal(*bits), name
