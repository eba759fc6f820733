"""Parameters that transformers makes of several tensors take no memory until they are used."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from forgather_convert.dynamic_model.components.experts_implementation import HAS_STACKED_EXPERTS
from forgather_convert.logit_check.streamed_parameters import streamed
from forgather_convert.models.loading import StoredModel, load_model, written_state
from forgather_convert.models.merged_parameters import materializer
from forgather_convert.models.parameters import parameters_of
from support.transformers_families import a_config

MERGED = {"mixtral": 4, "qwen3_moe": 2, "deepseek_v3": 2, "gpt_oss": 0, "gpt_neox": 0, "llama": 0}
IDS = torch.arange(3, 20)[None]


def saved(directory: Path, family: str, dtype: torch.dtype) -> tuple[Any, Any]:
    """A model that is saved, and its config."""
    config = a_config(family)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(copy.deepcopy(config)).to(dtype)
    model.save_pretrained(directory)
    return type(model), config


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("run", [torch.float32, torch.bfloat16], ids=["in float32", "in bfloat16"])
@pytest.mark.parametrize("family", MERGED)
def test_a_run_is_that_of_a_loaded_model(
    family: str, run: torch.dtype, stored: torch.dtype, tmp_path: Path
) -> None:
    model_class, config = saved(tmp_path, family, stored)
    parameters = parameters_of(lambda: model_class(copy.deepcopy(config)))
    state = written_state(tmp_path, parameters)
    model = load_model(
        StoredModel(model_class, copy.deepcopy(config), tmp_path, state, lambda: parameters)
    )
    merged = [each for each in model.parameters() if materializer(each) is not None]
    assert len(merged) == (MERGED[family] if HAS_STACKED_EXPERTS else 0)
    assert all(each.untyped_storage().nbytes() == each.element_size() for each in merged)
    expected = model_class.from_pretrained(tmp_path, dtype=run).eval()
    with torch.no_grad(), streamed(model, run, "cpu"):
        actual = model(IDS).logits
    with torch.no_grad():
        assert torch.equal(actual, expected(IDS).logits)
