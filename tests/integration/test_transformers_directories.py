"""Hugging Face models as transformers of either version writes them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from support.converting import (
    assert_rope_is_for_both_transformers,
    convert_unchecked,
    logits_of,
    plain_logits,
    read_config,
)
from support.directories import differences
from support.models import (
    TRANSFORMERS_MAJOR,
    hf_classes,
    load_forgather,
    load_hf,
    random_state,
    write_hf_model,
)
from support.variants import PLAIN, VARIANTS, Variant, variant

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


@pytest.mark.parametrize("variant", [*PLAIN, _TIED, _NO_SPECIAL_TOKENS], ids=_name)
@pytest.mark.parametrize("max_shard_size", ["5GB", "60KB"])
def test_models_that_transformers_saved(
    variant: Variant, max_shard_size: str, tmp_path: Path
) -> None:
    config_class, model_class = hf_classes(variant.family)
    model = model_class(config_class(**variant.config(str(TRANSFORMERS_MAJOR)))).eval()
    model.load_state_dict(random_state(variant, torch.float32), strict=False)
    source = tmp_path / "hf"
    model.save_pretrained(source, max_shard_size=max_shard_size)
    assert (source / "model.safetensors").exists() == (max_shard_size == "5GB")
    fg = convert_unchecked(source, tmp_path / "fg")
    assert torch.equal(logits_of(load_forgather(fg)), logits_of(model))
    assert differences(source, convert_unchecked(fg, tmp_path / "back")) == []


_ROPES = [
    *(candidate for candidate in VARIANTS if candidate.rope is not None),
    # Version 4 takes the base of a config of version 5 for 10000, without a word.
    replace(_LLAMA, name="theta", theta=500000.0),
    replace(variant("mistral-window"), name="theta", theta=1000000.0),
    replace(variant("qwen3-untied"), name="theta", theta=1000000.0),
]


@pytest.mark.parametrize("variant", _ROPES, ids=_name)
@pytest.mark.parametrize("schema", ["4", "5"])
def test_configs_of_the_other_transformers(variant: Variant, schema: str, tmp_path: Path) -> None:
    """The result does not depend on which version wrote the config and which one converts."""
    state = random_state(variant, torch.float32)
    right = write_hf_model(tmp_path / "right", variant, state=state)
    source = write_hf_model(tmp_path / "hf", variant, schema=schema, state=state)
    fg = convert_unchecked(source, tmp_path / "fg")
    expected = logits_of(load_hf(right, variant.family))
    assert torch.equal(logits_of(load_forgather(fg)), expected)

    # Without the original's text the result is for both versions, whatever the source was for.
    (fg / _PROVENANCE).unlink()
    hf = convert_unchecked(fg, tmp_path / "back")
    assert_rope_is_for_both_transformers(read_config(hf))
    assert torch.equal(plain_logits(hf), expected)


def test_a_config_of_both_schemas_that_disagree_is_read_as_transformers_5_reads_it(
    tmp_path: Path,
) -> None:
    """``rope_scaling`` wins there, and version 4 knows nothing else."""
    config = _LLAMA3.config("both")
    config |= {
        "dtype": "float32",
        "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
    }
    state = random_state(_LLAMA3, torch.float32)
    right = write_hf_model(tmp_path / "right", _LLAMA3, state=state)
    source = write_hf_model(tmp_path / "hf", _LLAMA3, state=state, config=config)
    fg = convert_unchecked(source, tmp_path / "fg")
    assert torch.equal(logits_of(load_forgather(fg)), logits_of(load_hf(right, "llama")))
