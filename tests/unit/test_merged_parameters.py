"""Parameters that transformers makes of several tensors take no memory until they are used."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM

from forgather_convert.dynamic_model.components.experts_implementation import HAS_STACKED_EXPERTS
from forgather_convert.logit_check.streamed_parameters import Values, streamed
from forgather_convert.models.loading import StoredModel, load_model, written_state
from forgather_convert.models.merged_parameters import materializer, row_maker
from forgather_convert.models.parameters import parameters_of
from support.transformers_families import a_config

MERGED = {"mixtral": 4, "qwen3_moe": 2, "deepseek_v3": 2, "gpt_oss": 0, "gpt_neox": 0, "llama": 0}
IDS = torch.arange(3, 20)[None]


def loaded(directory: Path, model_class: Any, config: Any) -> Any:
    """The saved model, as a check loads it."""
    parameters = parameters_of(lambda: model_class(copy.deepcopy(config)))
    state = written_state(directory, parameters)
    return load_model(
        StoredModel(model_class, copy.deepcopy(config), directory, state, lambda: parameters)
    )


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
    model = loaded(tmp_path, model_class, config)
    merged = [each for each in model.parameters() if materializer(each) is not None]
    assert len(merged) == (MERGED[family] if HAS_STACKED_EXPERTS else 0)
    assert all(each.untyped_storage().nbytes() == each.element_size() for each in merged)
    expected = model_class.from_pretrained(tmp_path, dtype=run).eval()
    with torch.no_grad(), streamed(model, run, "cpu"):
        actual = model(IDS).logits
    with torch.no_grad():
        assert torch.equal(actual, expected(IDS).logits)


@pytest.mark.skipif(
    not HAS_STACKED_EXPERTS or not hasattr(functional, "grouped_mm"),
    reason="experts are not stacked, or torch multiplies them in another way",
)
@pytest.mark.parametrize("family", [name for name in MERGED if name != "llama"])
def test_no_stack_of_experts_is_in_memory(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keep(self: Values, parameter: Any) -> torch.Tensor:
        pytest.fail(f"{parameter.name} is in memory as a whole")

    model = loaded(tmp_path, *saved(tmp_path, family, torch.bfloat16))
    monkeypatch.setattr(Values, "_keep", keep)
    with torch.no_grad(), streamed(model, torch.bfloat16, "cpu"):
        model(IDS)


@pytest.mark.skipif(not HAS_STACKED_EXPERTS, reason="experts are not stacked")
@pytest.mark.parametrize("family", [name for name, count in MERGED.items() if count])
def test_rows_of_an_expert_are_those_of_the_stack(family: str, tmp_path: Path) -> None:
    """Also rows on both sides of the end of the first of its matrices."""
    model = loaded(tmp_path, *saved(tmp_path, family, torch.float32))
    for parameter in model.parameters():
        make, make_rows = materializer(parameter), row_maker(parameter)
        if make is None:
            continue
        assert make_rows is not None
        whole, count = make(), parameter.shape[1]
        assert whole.shape == parameter.shape
        for index in range(len(whole)):
            parts = [
                make_rows(index, slice(start, min(start + 5, count)))
                for start in range(0, count, 5)
            ]
            assert torch.equal(torch.cat(parts), whole[index])
