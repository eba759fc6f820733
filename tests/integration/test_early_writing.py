"""Weights are written while the plan is made; what is in the end there is what the plan says."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from forgather_convert import ConvertOptions, ForgatherConvertError, convert, plan
from forgather_convert.planning import early_weights
from forgather_convert.planning.plan import ConversionPlan
from forgather_convert.planning.request import PlanRequest
from forgather_convert.planning.weights import WeightsPlan, plan_weights
from forgather_convert.planning.weights_content import WeightsContent
from forgather_convert.testing.models import read_weights, write_weights
from support.directories import snapshot
from support.early_planning import planned_early
from support.models import write_hf_model
from support.running_conversion import remains
from support.tokenizers import write_byte_level_bpe
from support.variants import variant

UNCHECKED = ConvertOptions(logit_check=False)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model in two files in both formats."""
    root = tmp_path_factory.mktemp("models")
    source = write_hf_model(root / "hf", variant("llama-mha"), dtype="bfloat16", shards=2)
    convert(source, root / "fg", UNCHECKED)
    convert(root / "fg", root / "back", UNCHECKED)
    return {name: root / name for name in ("hf", "fg", "back")}


def _planned_late(
    monkeypatch: pytest.MonkeyPatch, source: Path, destination: Path, options: ConvertOptions
) -> ConversionPlan:
    """The plan that the models alone lead to."""
    with monkeypatch.context() as patches:
        patches.setattr(early_weights, "plan_early_weights", lambda request: None)
        return plan(source, destination, options)


@pytest.mark.parametrize("name", ["llama-mha", "qwen3-tied", "mistral-window"])
@pytest.mark.parametrize("shards", [1, 3])
def test_models_confirm_what_was_planned_early(
    name: str, shards: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_hf_model(tmp_path / "hf", variant(name), dtype="bfloat16", shards=shards)
    for one, other in (("hf", "fg"), ("fg", "back")):
        places = tmp_path / one, tmp_path / other
        early, planned = planned_early(monkeypatch, *places, UNCHECKED)
        late = _planned_late(monkeypatch, tmp_path / one, tmp_path / "elsewhere", UNCHECKED)
        assert early is not None
        assert len(early.shards) == shards
        assert early.shards == planned.shards == late.shards
        assert planned.writes == late.writes
    assert snapshot(tmp_path / "back") == snapshot(source)


@pytest.mark.parametrize("direction", ["hf", "fg"])
def test_planning_early_needs_no_model(
    models: dict[str, Path], tmp_path: Path, direction: str
) -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from forgather_convert import api, ConvertOptions\n"
        "from forgather_convert.planning import early_weights\n"
        "make = early_weights.plan_early_weights\n"
        "def look(request):\n"
        "    count = len(make(request).shards)\n"
        "    print(count, [name for name in ('torch', 'transformers') if name in sys.modules])\n"
        "    sys.exit()\n"
        "early_weights.plan_early_weights = look\n"
        "api.convert(*map(Path, sys.argv[1:]), ConvertOptions(logit_check=False))\n"
    )
    command = [sys.executable, "-c", script, models[direction], tmp_path / "out"]
    answer = subprocess.run([*map(str, command)], capture_output=True, text=True, check=True)
    assert answer.stdout == "2 []\n"


def test_what_is_computed_is_not_planned_early(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = replace(UNCHECKED, dtype="float16")
    assert planned_early(monkeypatch, models["hf"], tmp_path / "cast", options)[0] is None
    options = replace(UNCHECKED, max_shard_size=10_000)
    assert planned_early(monkeypatch, models["hf"], tmp_path / "divided", options)[0] is None


def test_a_model_that_gets_a_padding_token_is_not_planned_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_hf_model(tmp_path / "hf", variant("llama-mha"), dtype="bfloat16")
    write_byte_level_bpe(source)
    early, planned = planned_early(monkeypatch, source, tmp_path / "fg", UNCHECKED)
    assert early is None
    assert planned.vocabulary is not None


@pytest.mark.parametrize("shards", [1, 2])
def test_a_trained_model_in_other_files_is_planned_early(
    shards: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its original's files are known, whatever its own are."""
    source = write_hf_model(tmp_path / "hf", variant("llama-mha"), dtype="bfloat16", shards=shards)
    convert(source, tmp_path / "fg", replace(UNCHECKED, weights_format="pytorch"))
    early, planned = planned_early(monkeypatch, tmp_path / "fg", tmp_path / "back", UNCHECKED)
    assert early is not None
    assert early.shards == planned.shards
    assert snapshot(tmp_path / "back") == snapshot(source)


def test_a_head_that_is_stored_twice_is_planned_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_hf_model(tmp_path / "hf", variant("qwen3-tied"), dtype="bfloat16")
    state = read_weights(source)
    (source / "model.safetensors").unlink()
    write_weights(source, {**state, "lm_head.weight": state["model.embed_tokens.weight"].clone()})
    for one, other in (("hf", "fg"), ("fg", "back")):
        places = tmp_path / one, tmp_path / other
        early, planned = planned_early(monkeypatch, *places, UNCHECKED)
        assert early is not None
        assert early.shards == planned.shards
    assert snapshot(tmp_path / "back") == snapshot(source)


def _one_more(content: WeightsContent) -> WeightsContent:
    first = next(iter(content.tensors.values()))
    return replace(content, tensors={**content.tensors, "more": first})


def _one_less(content: WeightsContent) -> WeightsContent:
    return replace(content, tensors=dict(list(content.tensors.items())[1:]))


def _two_exchanged(content: WeightsContent) -> WeightsContent:
    (one, first), (other, second), *rest = content.tensors.items()
    return replace(content, tensors={one: second, other: first, **dict(rest)})


@pytest.mark.parametrize("change", [_one_more, _one_less, _two_exchanged])
@pytest.mark.parametrize("direction", ["hf", "fg"])
def test_what_models_do_not_confirm_leaves_nothing(
    models: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    direction: str,
    change: Callable[[WeightsContent], WeightsContent],
) -> None:
    make = early_weights.plan_early_weights
    begun: list[str] = []

    def plan_otherwise(request: PlanRequest) -> WeightsPlan:
        right = make(request)
        assert right is not None
        wrong = plan_weights(request, replace(change(right.content), original=None))
        assert wrong.shards != right.shards
        begun.extend(shard.file_name for shard in wrong.shards)
        # So that none of its files is replaced by one of the same name.
        renamed = (replace(shard, file_name=f"other-{shard.file_name}") for shard in wrong.shards)
        return replace(wrong, layout=replace(wrong.layout, shards=tuple(renamed)))

    monkeypatch.setattr(early_weights, "plan_early_weights", plan_otherwise)
    convert(models[direction], tmp_path / "out", UNCHECKED)
    assert len(begun) == 2
    expected = {"hf": "fg", "fg": "back"}[direction]
    assert snapshot(tmp_path / "out") == snapshot(models[expected])
    assert remains(tmp_path / "out") == []


def test_model_that_cannot_be_planned_leaves_nothing(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its weights have been written by then."""
    config = (models["hf"] / "config.json").read_text()
    source = tmp_path / "hf"
    source.mkdir()
    for path in models["hf"].iterdir():
        (source / path.name).hardlink_to(path)
    (source / "config.json").unlink()
    (source / "config.json").write_text(config.replace('"hidden_size": 64', '"hidden_size": 32'))
    with pytest.raises(ForgatherConvertError, match="has the shape"):
        planned_early(monkeypatch, source, tmp_path / "out", UNCHECKED)
    assert not (tmp_path / "out").exists()
    assert remains(tmp_path / "out") == []


def test_error_while_the_plan_is_made_is_reported(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any, **options: Any) -> int:
        raise OSError(5, "Input/output error", "/somewhere")

    monkeypatch.setattr("os.copy_file_range", fail)
    with pytest.raises(OSError, match="/somewhere"):
        convert(models["hf"], tmp_path / "out", UNCHECKED)
    assert not (tmp_path / "out").exists()
    assert remains(tmp_path / "out") == []
