"""The check of a large model says how long it will take."""

import itertools
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from forgather_convert import convert
from forgather_convert.discovery.choice import resolve_converter
from forgather_convert.logit_check import duration, logits
from forgather_convert.logit_check.duration import estimate_seconds
from forgather_convert.logit_check.positions import Run
from forgather_convert.logit_check.streamed_parameters import streaming
from forgather_convert.testing.models import write_model
from support.log import logged
from support.models import load_hf, write_hf_model
from support.variants import variant

_RUNS = [Run("a run", ((1, 2, 3, 4),), steps=(5, 6)), Run("a batch", ((1, 2), (3, 4)))]


@pytest.mark.parametrize("family", ["llama", "qwen3_moe"])
def test_the_estimate_is_logged(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logits, "_LARGE", 0)
    monkeypatch.setattr(logits, "_LONG", 0)
    hooks = resolve_converter(family)
    write_model(tmp_path / "hf", hooks, next(iter(hooks.get_tiny_configs().values())))
    with logged() as messages:
        convert(tmp_path / "hf", tmp_path / "fg")
    (message,) = (text for text in messages if "will take about" in text)
    assert message.endswith(" s, judged by a sample")
    assert any("identical" in text for text in messages)


def test_what_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each matrix is compared once, and multiplied for all runs, and for each cached step."""
    write_hf_model(tmp_path / "hf", variant("llama-default"))
    model = load_hf(tmp_path / "hf", "llama", dtype="auto")
    # Every sample takes a second.
    clock = itertools.count()
    time = SimpleNamespace(perf_counter=lambda: float(next(clock)))
    monkeypatch.setattr(duration, "time", time)
    with streaming(model, torch.bfloat16, "cpu", lambda _: None) as parameters:
        seconds = estimate_seconds(model, parameters, _RUNS)
    embedding = model.get_input_embeddings().weight
    sizes = [one.nbytes for one in model.parameters() if one.dim() > 1 and one is not embedding]
    sampled = [size for size in sizes if size == max(sizes)]
    step = -(-len(sampled) // 3)
    assert seconds == 4 * sum(sizes) / sum(sampled[::step])
