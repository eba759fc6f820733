"""A conversion tells what it does, and counts what it says that it counts."""

import hashlib
from pathlib import Path

import pytest

from forgather_convert import ConvertOptions, Phase, Progress, convert, plan
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
