"""Models that transformers divides between two processes, by the plan in their code."""

import contextlib
import io
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from transformers import AutoModelForCausalLM

from forgather_convert import ConvertOptions, convert
from forgather_convert.discovery.choice import resolve_converter
from forgather_convert.testing.models import write_model
from support.models import TRANSFORMERS_MAJOR, prompt
from support.processes import run_together

pytestmark = [
    pytest.mark.version_independent,
    pytest.mark.skipif(TRANSFORMERS_MAJOR < 5, reason="transformers 4 cannot do it on CPUs"),
]


def _write(model_type: str, parent: Path) -> tuple[Path, Path]:
    hooks = resolve_converter(model_type)
    fields = next(iter(hooks.get_tiny_configs().values()))
    hf = write_model(parent / "hf", hooks, fields, "float32")
    convert(hf, parent / "fg", ConvertOptions(logit_check=False))
    return hf, parent / "fg"


def _load(directory: Path, **options: Any) -> Any:
    return AutoModelForCausalLM.from_pretrained(
        directory, trust_remote_code=True, dtype=torch.float32, **options
    )


@torch.no_grad()
def _divided_logits(directory: Path) -> torch.Tensor:
    """The logits of a model of which this process has a part."""
    # It warns of a new name for the option, which the oldest versions do not know.
    with contextlib.redirect_stderr(io.StringIO()):
        model = _load(directory, tp_plan="auto")
    parameters = [*model.parameters()]
    assert any(each.to_local().numel() < each.numel() for each in parameters if _is_divided(each))
    logits = model(prompt(batch=1, length=24)).logits
    whole: torch.Tensor = logits.full_tensor() if _is_divided(logits) else logits
    return whole


def _is_divided(tensor: torch.Tensor) -> bool:
    return hasattr(tensor, "to_local")


@pytest.mark.parametrize("model_type", ["llama", "gemma2", "gpt_neox", "phi"])
def test_divided_models_compute_what_hugging_face_s_do(model_type: str, tmp_path: Path) -> None:
    """In the same bits: both are divided in the same way."""
    hf, fg = _write(model_type, tmp_path)

    def compare(rank: int) -> None:
        assert torch.equal(*map(_divided_logits, (hf, fg)))
        dist.destroy_process_group()

    assert run_together(2, compare) == [0, 0]


@pytest.mark.parametrize("model_type", ["bloom", "qwen3_moe"])
def test_what_cannot_be_divided_is_whole(model_type: str, tmp_path: Path) -> None:
    """Attention with ALiBi, experts: other parts are divided, which changes the last bits only."""
    _, fg = _write(model_type, tmp_path)
    with torch.no_grad():
        expected = _load(fg)(prompt(batch=1, length=24)).logits

    def compare(rank: int) -> None:
        torch.testing.assert_close(_divided_logits(fg), expected)
        dist.destroy_process_group()

    assert run_together(2, compare) == [0, 0]
