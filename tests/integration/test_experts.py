"""Experts: computed as transformers is told to, and balanced by the auxiliary loss."""

from pathlib import Path
from typing import Any

import pytest
import torch

from forgather_convert.families.converter import HFConverter
from forgather_convert.testing.converted import ConvertedModel, Family
from forgather_convert.testing.directories import differences
from forgather_convert.testing.models import read_weights, write_model
from forgather_convert.testing.running import load_forgather, padding_mask, prompt, unequal
from forgather_convert_gpt.gpt_oss import GptOss
from forgather_convert_mistral.mixtral import Mixtral
from forgather_convert_qwen3.qwen3_moe import Qwen3Moe

try:
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS
except ImportError:
    ALL_EXPERTS_FUNCTIONS = None

CONVERTERS = (Mixtral, Qwen3Moe, GptOss)
WITH_ROUTER_LOGITS = CONVERTERS


def a_model(directory: Path, converter_class: type[HFConverter], **fields: Any) -> ConvertedModel:
    """The last of a family's tiny models, in both formats."""
    (*_, config) = converter_class().get_tiny_configs().values()
    family = Family(converter_class())
    return ConvertedModel.create(directory, family, {**config, **fields}, "float32")


def load(converted: ConvertedModel) -> tuple[Any, Any]:
    """The original and the dynamic model."""
    return converted.family.load_hf(converted.hf), load_forgather(converted.fg)


def losses(model: Any, ids: torch.Tensor, **options: Any) -> tuple[Any, dict[str, torch.Tensor]]:
    """A training step's output and gradients."""
    torch.manual_seed(3)
    mask = padding_mask(ids)
    output = model.train()(ids, attention_mask=mask, labels=ids, use_cache=False, **options)
    output.loss.backward()
    gradients = {
        name: torch.zeros_like(each) if each.grad is None else each.grad
        for name, each in model.named_parameters()
    }
    return output, gradients


def converted_gradients(
    directory: Path, converted: ConvertedModel, gradients: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The original's gradients by the names of the dynamic model."""
    family, fields = converted.family, converted.fields
    source = write_model(directory / "gradients", family.hooks, fields, state=gradients)
    return read_weights(family.convert(source, directory / "converted"))


@pytest.mark.skipif(ALL_EXPERTS_FUNCTIONS is None, reason="transformers 4 has one implementation")
@pytest.mark.parametrize("implementation", [None, "eager", "grouped_mm", "batched_mm"])
@pytest.mark.parametrize("converter_class", CONVERTERS)
def test_transformers_chooses_the_implementation(
    converter_class: type[HFConverter], implementation: str | None, tmp_path: Path
) -> None:
    converted = a_model(tmp_path, converter_class)
    hf, fg = load(converted)
    if implementation is not None:
        for model in (hf, fg):
            model.set_experts_implementation(implementation)
    assert fg.config._experts_implementation == hf.config._experts_implementation
    assert fg.config._experts_implementation == (implementation or "grouped_mm")
    ids = prompt(converted.fields)
    (hf_output, hf_gradients), (fg_output, fg_gradients) = (losses(each, ids) for each in (hf, fg))
    assert torch.equal(hf_output.logits, fg_output.logits)
    expected = converted_gradients(tmp_path, converted, hf_gradients)
    assert unequal(expected, fg_gradients) == []


@pytest.mark.parametrize("converter_class", CONVERTERS)
def test_mixed_precision(converter_class: type[HFConverter], tmp_path: Path) -> None:
    """Under autocast a router's logits have another dtype than what it gets."""
    converted = a_model(tmp_path, converter_class)
    ids = prompt(converted.fields)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (hf, hf_gradients), (fg, fg_gradients) = (losses(each, ids) for each in load(converted))
    assert torch.equal(hf.logits, fg.logits)
    assert unequal(converted_gradients(tmp_path, converted, hf_gradients), fg_gradients) == []


@pytest.mark.parametrize("from_config", [True, False])
@pytest.mark.parametrize("converter_class", WITH_ROUTER_LOGITS)
def test_auxiliary_loss(
    converter_class: type[HFConverter], from_config: bool, tmp_path: Path
) -> None:
    """It is part of the loss and of the gradients, and follows from the same router logits."""
    fields = {"output_router_logits": from_config, "router_aux_loss_coef": 0.5}
    converted = a_model(tmp_path, converter_class, **fields)
    options = {} if from_config else {"output_router_logits": True}
    ids = prompt(converted.fields)
    (hf, hf_gradients), (fg, fg_gradients) = (
        losses(model, ids, **options) for model in load(converted)
    )
    assert torch.equal(hf.loss, fg.loss)
    assert torch.equal(hf.aux_loss, fg.aux_loss)
    assert len(hf.router_logits) == len(fg.router_logits) > 0
    assert all(map(torch.equal, hf.router_logits, fg.router_logits))
    assert unequal(converted_gradients(tmp_path, converted, hf_gradients), fg_gradients) == []


@pytest.mark.parametrize("converter_class", WITH_ROUTER_LOGITS)
def test_router_logits_are_given_on_request_only(
    converter_class: type[HFConverter], tmp_path: Path
) -> None:
    converted = a_model(tmp_path, converter_class)
    _, fg = load(converted)
    ids = prompt(converted.fields)
    output, _ = losses(fg, ids)
    with_loss, _ = losses(fg, ids, output_router_logits=True)
    assert output.router_logits is None
    assert output.aux_loss is None
    assert output.loss < with_loss.loss


@pytest.mark.parametrize("converter_class", WITH_ROUTER_LOGITS)
def test_a_config_that_asks_for_router_logits_comes_back(
    converter_class: type[HFConverter], tmp_path: Path
) -> None:
    converted = a_model(tmp_path, converter_class, output_router_logits=True)
    family = converted.family
    fg = family.convert(converted.hf, tmp_path / "checked", logit_check=True)
    back = family.convert(fg, tmp_path / "back", logit_check=True)
    assert differences(converted.hf, back) == []
