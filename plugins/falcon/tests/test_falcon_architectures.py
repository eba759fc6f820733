"""What the fields of Falcon's config imply together, and what no model can be."""

from pathlib import Path
from typing import Any

import pytest

from forgather_convert import UnsupportedModelError
from forgather_convert.testing.converted import Family
from forgather_convert.testing.models import read_json, write_json, write_model
from forgather_convert_falcon.falcon import Falcon

_SMALL = Falcon().get_tiny_configs()["multi-query"]


@pytest.mark.parametrize(
    "fields",
    [
        {"new_decoder_architecture": True, "num_kv_heads": 1, "num_ln_in_parallel_attn": 1},
        {"new_decoder_architecture": True, "alibi": True, "multi_query": False},
        {"multi_query": False, "bias": True},
        {"parallel_attn": False, "attention_dropout": 0.1},
    ],
)
def test_other_combinations(fields: dict[str, Any], tmp_path: Path) -> None:
    family = Family(Falcon())
    source = write_model(tmp_path / "hf", family.hooks, {**_SMALL, **fields})
    result = family.conversion(source, tmp_path / "fg", logit_check=True)
    assert result.logits is not None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"new_decoder_architecture": True, "parallel_attn": False}, "'parallel_attn' is False"),
        (
            {"new_decoder_architecture": True, "num_ln_in_parallel_attn": 3},
            "'num_ln_in_parallel_attn' is 3",
        ),
        ({"num_ln_in_parallel_attn": 2}, "'num_ln_in_parallel_attn' is 2"),
        ({"multi_query": False, "num_kv_heads": 2}, "'num_kv_heads' is 2"),
        ({"n_embed": 64}, "'n_embed' is 64"),
    ],
)
def test_what_transformers_cannot_run(fields: dict[str, Any], message: str, tmp_path: Path) -> None:
    family = Family(Falcon())
    source = write_model(tmp_path / "hf", family.hooks, _SMALL)
    config = read_json(source / "config.json")
    write_json(source / "config.json", {**config, **fields})
    with pytest.raises(UnsupportedModelError, match=message):
        family.plan(source)
