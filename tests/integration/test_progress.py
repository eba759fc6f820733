"""Conversions and comparisons report their phases, and count every byte they announce."""

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from forgather_convert import (
    ConvertOptions,
    Phase,
    Progress,
    VerifyOptions,
    convert,
    plan,
    verify,
)
from forgather_convert.execution.weights_writer import WeightsWriter
from forgather_convert.planning import planner
from forgather_convert.progress import TimedProgress
from support.models import write_hf_model
from support.variants import Variant, variant

LLAMA = variant("llama-default")
MISTRAL = Variant("mistral", "window", {"sliding_window": 48, "tie_word_embeddings": True})


class Counted(Progress):
    """Notes the phases, and what they count."""

    def __init__(self) -> None:
        self.totals: dict[Phase, int] = {}
        self.counts: dict[Phase, int] = {}
        self.is_finished = False
        self.head_starts: dict[Phase, float] = {}

    def head_start(self, seconds: float) -> None:
        self.head_starts[self.phase] = seconds

    def start(self, phase: Phase, total: int = 0) -> None:
        self.phase = phase
        self.totals[phase] = total
        self.counts.setdefault(phase, 0)

    def advance(self, count: int) -> None:
        assert count >= 0
        self.counts[self.phase] += count

    def finish(self) -> None:
        assert not self.is_finished
        self.is_finished = True


@pytest.mark.parametrize(
    ("source", "options"),
    [
        (LLAMA, ConvertOptions(dtype="bfloat16", hashes=True)),
        (LLAMA, ConvertOptions(weights_format="pytorch", dtype="float16", logit_check=False)),
        (MISTRAL, ConvertOptions(generation_test=True)),
    ],
    ids=["cast", "bin", "window"],
)
def test_every_phase_counts_up_to_its_total(
    source: Variant, options: ConvertOptions, tmp_path: Path
) -> None:
    progress = Counted()
    model = write_hf_model(tmp_path / "hf", source)
    result = convert(model, tmp_path / "fg", options, progress=progress)
    assert progress.counts == progress.totals
    assert progress.is_finished
    expected = [Phase.READ, Phase.PLAN, Phase.WRITE]
    expected += [Phase.CHECK] * options.logit_check + [Phase.GENERATE] * options.generation_test
    expected += [Phase.HASH] * options.hashes + [Phase.COMMIT]
    assert list(progress.counts) == expected == list(result.seconds)
    size = sum(path.stat().st_size for path in (tmp_path / "fg").iterdir())
    assert progress.totals[Phase.COMMIT] == size
    # What torch.save adds is not known before.
    assert progress.totals[Phase.WRITE] == (
        result.plan.num_bytes if "pytorch" in options.weights_format else size
    )
    if options.logit_check:
        weights = sum(path.stat().st_size for path in model.glob("*.safetensors"))
        assert progress.totals[Phase.CHECK] > 1.5 * weights
    hashes = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (tmp_path / "fg").iterdir()
    }
    assert result.hashes == (hashes if options.hashes else None)


def test_a_plan_is_followed_too(tmp_path: Path) -> None:
    progress = Counted()
    plan(write_hf_model(tmp_path / "hf", LLAMA), tmp_path / "fg", progress=progress)
    assert list(progress.counts) == [Phase.READ, Phase.PLAN]
    assert progress.is_finished


@pytest.mark.parametrize("logit_check", [True, False])
def test_a_comparison_counts_what_it_compares(logit_check: bool, tmp_path: Path) -> None:
    model = write_hf_model(tmp_path / "hf", LLAMA, dtype="float32")
    convert(model, tmp_path / "fg", ConvertOptions(logit_check=False, dtype="bfloat16"))
    progress = Counted()
    verify(model, tmp_path / "fg", VerifyOptions(logit_check=logit_check), progress)
    assert progress.counts == progress.totals
    assert list(progress.counts) == [Phase.READ, Phase.COMPARE] + [Phase.CHECK] * logit_check
    num_bytes = sum(tensor.num_bytes for tensor in plan(model, tmp_path / "out").tensors)
    assert progress.totals[Phase.COMPARE] == num_bytes + num_bytes // 2
    assert progress.is_finished


def test_writing_beside_the_plan_counts_as_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time is that of the phase, whether it ends before the phase begins or not."""
    make = planner.plan_conversion

    def plan_later(*arguments: Any) -> Any:
        # Some of the plan's time, in which weights are written.
        threading.Event().wait(0.2)
        return make(*arguments)

    monkeypatch.setattr(planner, "plan_conversion", plan_later)
    model = write_hf_model(tmp_path / "hf", LLAMA, dtype="bfloat16")
    progress = Counted()
    result = convert(model, tmp_path / "fg", ConvertOptions(logit_check=False), progress=progress)
    head_start = progress.head_starts[Phase.WRITE]
    # The tiny model was written long before the plan was made.
    assert 0 < head_start < result.seconds[Phase.WRITE] < result.seconds[Phase.PLAN]
    assert result.elapsed_seconds >= sum(result.seconds.values()) - head_start
    monkeypatch.setattr(WeightsWriter, "begin", _delayed(WeightsWriter.begin))
    progress = Counted()
    convert(model, tmp_path / "later", ConvertOptions(logit_check=False), progress=progress)
    assert progress.head_starts[Phase.WRITE] == 0.0


def _delayed(begin: Callable[..., None]) -> Callable[..., None]:
    """Starts writing only when everything is to be written."""
    calls: list[object] = []

    def begin_the_second_time(writer: WeightsWriter, shards: Any) -> None:
        calls.append(shards)
        if len(calls) > 1:
            begin(writer, shards)

    return begin_the_second_time


def test_seconds_of_a_head_start_are_those_of_the_phase() -> None:
    timed = TimedProgress(Progress())
    timed.start(Phase.WRITE)
    timed.head_start(5.0)
    timed.start(Phase.COMMIT)
    timed.finish()
    assert 5.0 <= timed.seconds()[Phase.WRITE] < 5.5
    assert timed.seconds()[Phase.COMMIT] < 0.5
    assert timed.elapsed() < 0.5
