"""HF -> FG -> HF gives back the text of the config."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from forgather_convert import inspect
from support.converting import convert_unchecked
from support.directories import differences
from support.models import write_hf_model
from support.round_trips import (
    checked_there_and_back,
    there_and_back,
    variant_name,
)
from support.variants import PLAIN, Variant, variant

_LLAMA = variant("llama-default")
_TIED = variant("llama-tied")
_FLOAT32 = {**_LLAMA.config(), "dtype": "float32"}


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


@pytest.mark.version_independent
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
    assert differences(source, there_and_back(source)) == []


def test_custom_fields_are_in_the_forgather_config(tmp_path: Path) -> None:
    """Training code that looks for them finds them."""
    config = {**_LLAMA.config(), "custom": {"deep": [1, 2]}}
    fg = convert_unchecked(write_hf_model(tmp_path / "hf", _LLAMA, config=config), tmp_path / "fg")
    assert json.loads((fg / "config.json").read_text())["custom"] == {"deep": [1, 2]}


@pytest.mark.parametrize("schema", ["4", "5"])
@pytest.mark.parametrize(
    "variant",
    [*PLAIN, variant("llama-llama3"), variant("llama-longrope"), variant("qwen3-yarn")],
    ids=variant_name,
)
def test_configs_of_both_transformers_come_back(
    variant: Variant, schema: str, tmp_path: Path
) -> None:
    """Neither version writes the other's fields, and none is added or translated."""
    source = write_hf_model(tmp_path / "hf", variant, schema=schema)
    assert differences(source, checked_there_and_back(source)) == []


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
    assert differences(source, checked_there_and_back(source)) == []


@pytest.mark.parametrize("value", [None, False, {}])
@pytest.mark.parametrize("field", ["quantization_config", "compression_config"])
def test_weights_that_are_said_not_to_be_quantized(field: str, value: Any, tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", _LLAMA, config={**_FLOAT32, field: value})
    back = checked_there_and_back(source)
    assert differences(source, back) == []


def test_infinite_numbers_as_transformers_5_writes_them(tmp_path: Path) -> None:
    numbers = [{"__float__": "-Infinity"}, {"__float__": "Infinity"}, {"__float__": "NaN"}, 1.0]
    custom = {"any_limits": {"low": numbers}, "any_tag": {"__float__": "other"}}
    source = write_hf_model(tmp_path / "hf", _LLAMA, config={**_FLOAT32, **custom})
    back = checked_there_and_back(source)
    assert differences(source, back) == []
    fields = json.loads((tmp_path / "fg" / "config.json").read_text())
    low, high, neither, one = fields["any_limits"]["low"]
    assert (low, high, one) == (-math.inf, math.inf, 1.0)
    assert math.isnan(neither)
    assert fields["any_tag"] == {"__float__": "other"}


@pytest.mark.parametrize("name", ["llama-yarn", "llama-longrope", "qwen3-yarn"])
def test_rope_for_the_default_of_the_maximum_length(name: str, tmp_path: Path) -> None:
    """What the file does not give, the class has."""
    config = {**variant(name).config(), "dtype": "float32"}
    del config["max_position_embeddings"]
    source = write_hf_model(tmp_path / "hf", variant(name), config=config)
    assert inspect(source).problems == ()
    back = checked_there_and_back(source)
    assert differences(source, back) == []
