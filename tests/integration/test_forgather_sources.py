"""Forgather models of this tool and of older ones convert to what computes the same."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from forgather_convert import convert, inspect
from support.converting import (
    assert_rope_is_for_both_transformers,
    convert_unchecked,
    edit_config,
    logits_of,
    plain_logits,
    read_config,
)
from support.directories import differences
from support.models import load_forgather, load_hf
from support.old_dialect import OldDialect, write_old_model
from support.pairs import Pair
from support.variants import PLAIN, VARIANTS, Variant, variant

Pairs = Callable[[Variant, str], Pair]

_PROVENANCE = "forgather_conversion.json"
_LLAMA = variant("llama-default")
_TIED = variant("llama-tied")
_LLAMA3 = variant("llama-llama3")
_NO_SPECIAL_TOKENS = Variant(
    "llama",
    "no-special-tokens",
    {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None},
)


def _name(value: object) -> str:
    return str(getattr(value, "id", None) or getattr(value, "name", value))


# Forgather models of this tool


@pytest.mark.parametrize("variant", VARIANTS, ids=_name)
def test_a_model_without_provenance(variant: Variant, convert_once: Pairs, tmp_path: Path) -> None:
    """A model that was copied without its history is complete all the same."""
    pair = convert_once(variant, "float32")
    without = shutil.ignore_patterns(_PROVENANCE)
    source = shutil.copytree(pair.fg, tmp_path / "fg", ignore=without)
    hf = convert_unchecked(source, tmp_path / "hf")
    assert torch.equal(plain_logits(hf), logits_of(load_forgather(pair.fg)))
    config = read_config(hf)
    assert config["model_type"] == variant.family
    assert config["tie_word_embeddings"] == variant.config()["tie_word_embeddings"]
    assert_rope_is_for_both_transformers(config)
    assert not list(hf.glob("*.py"))


@pytest.mark.parametrize("variant", [*PLAIN, _TIED, _NO_SPECIAL_TOKENS], ids=_name)
def test_a_model_that_was_saved_again(
    variant: Variant, convert_once: Pairs, tmp_path: Path
) -> None:
    """The library writes its own selection of the config's fields."""
    model = load_forgather(convert_once(variant, "float32").fg)
    model.save_pretrained(tmp_path / "saved")
    hf = convert_unchecked(tmp_path / "saved", tmp_path / "hf")
    assert torch.equal(plain_logits(hf), logits_of(model))
    config = read_config(hf)
    assert_rope_is_for_both_transformers(config)
    assert config["tie_word_embeddings"] == variant.config()["tie_word_embeddings"]
    for field in ("bos_token_id", "eos_token_id", "pad_token_id"):
        assert config[field] == variant.config()[field]


@pytest.mark.parametrize("variant", [*PLAIN, _TIED, _NO_SPECIAL_TOKENS], ids=_name)
def test_a_model_that_was_saved_over_itself(
    variant: Variant, convert_once: Pairs, tmp_path: Path
) -> None:
    """The provenance is still there, and what transformers rewrote has not changed the model."""
    pair = convert_once(variant, "float32")
    load_forgather(pair.fg).save_pretrained(tmp_path / "saved")
    source = shutil.copytree(pair.fg, tmp_path / "fg")
    shutil.copytree(tmp_path / "saved", source, dirs_exist_ok=True)
    hf = convert_unchecked(source, tmp_path / "hf")
    # transformers rewrites this file, too, and it is taken over as it is.
    assert set(differences(pair.hf, hf)) <= {"differs: generation_config.json"}


# Older Forgather models

_OLD_VARIANTS = [
    *PLAIN,
    _TIED,
    variant("qwen3-tied"),
    _LLAMA3,
    # The size of a head is in the weights only.
    variant("llama-head-dim"),
    variant("mistral-head-dim"),
    variant("qwen3-head-dim-128"),
]
_OLD_DIALECTS = [
    OldDialect("in-three-files", shards=3),
    OldDialect("trained", weights="checkpoints/checkpoint-7", has_caches=True),
    OldDialect("one-file", shards=1, has_caches=True),
    OldDialect("safetensors", weights="checkpoints/checkpoint-7", weights_format="safetensors"),
    OldDialect("without-family", has_family=False, dtype_field="torch_dtype"),
]


@pytest.mark.parametrize("variant", _OLD_VARIANTS, ids=_name)
def test_older_models(variant: Variant, convert_once: Pairs, tmp_path: Path) -> None:
    pair = convert_once(variant, "float32")
    source = write_old_model(tmp_path / "old", pair.fg, OldDialect("two-files"))
    hf = convert_unchecked(source, tmp_path / "hf")
    assert torch.equal(plain_logits(hf), logits_of(load_hf(pair.hf, variant.family)))
    assert_rope_is_for_both_transformers(read_config(hf))


@pytest.mark.parametrize("variant", [variant("mistral-tied"), _LLAMA], ids=_name)
@pytest.mark.parametrize("dialect", _OLD_DIALECTS, ids=_name)
def test_older_models_of_every_kind(
    variant: Variant, dialect: OldDialect, convert_once: Pairs, tmp_path: Path
) -> None:
    pair = convert_once(variant, "float32")
    source = write_old_model(tmp_path / "old", pair.fg, dialect)
    hf = tmp_path / "hf"
    convert(source, hf)
    assert torch.equal(plain_logits(hf), logits_of(load_hf(pair.hf, variant.family)))
    others = {path.name for path in hf.iterdir() if not path.name.startswith("model")}
    assert others == {"config.json", "generation_config.json", "chat_template.jinja"}


@pytest.mark.parametrize("is_ours", [True, False])
def test_key_value_heads_that_are_null(is_ours: bool, convert_once: Pairs, tmp_path: Path) -> None:
    """The framework's default model has a head of keys and values for each of its queries'."""
    pair = convert_once(variant("llama-mha"), "float32")
    if is_ours:
        source = shutil.copytree(pair.fg, tmp_path / "fg")
    else:
        source = write_old_model(tmp_path / "old", pair.fg, OldDialect("two-files"))
    edit_config(source, num_key_value_heads=None)
    assert inspect(source).problems == ()
    convert(source, tmp_path / "hf")
    config = read_config(tmp_path / "hf")
    assert config["num_key_value_heads"] == config["num_attention_heads"] == 4
    expected = logits_of(load_hf(pair.hf, "llama"))
    assert torch.equal(plain_logits(tmp_path / "hf"), expected)


def test_an_older_model_says_in_full_what_it_left_out(convert_once: Pairs, tmp_path: Path) -> None:
    """What was a default where it was made is not the default of the class that reads it now."""
    pair = convert_once(variant("qwen3-tied"), "bfloat16")
    source = write_old_model(tmp_path / "old", pair.fg, OldDialect("two-files"))
    config = read_config(convert_unchecked(source, tmp_path / "hf"))
    assert config["tie_word_embeddings"] is True
    assert config["head_dim"] == 16
    assert config["hidden_act"] == "silu"
    assert config["architectures"] == ["Qwen3ForCausalLM"]
    assert config["dtype"] == "bfloat16"
    settings = ("code_generator", "compile_flex", "hf_model_type", "auto_map", "layer_dropout")
    assert not [name for name in settings if name in config]
