"""Weights are written while the plan is made; what is in the end there is what the plan says."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from forgather_convert import ConvertOptions, ForgatherConvertError, convert
from forgather_convert.planning import draft
from forgather_convert.planning.plan import ConversionPlan, ShardPlan
from support.directories import snapshot
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


def _drafted(
    monkeypatch: pytest.MonkeyPatch, source: Path, destination: Path, options: ConvertOptions
) -> tuple[tuple[ShardPlan, ...], ConversionPlan]:
    """Converts; gives the draft and the plan."""
    drafts: list[tuple[ShardPlan, ...]] = []
    plans: list[ConversionPlan] = []
    make = draft.draft_shards

    def note(request: Any) -> tuple[ShardPlan, ...]:
        drafts.append(make(request))
        return drafts[-1]

    monkeypatch.setattr(draft, "draft_shards", note)
    convert(source, destination, options, on_plan=plans.append)
    return drafts[0], plans[0]


@pytest.mark.parametrize("name", ["llama-mha", "qwen3-tied", "mistral-window"])
@pytest.mark.parametrize("shards", [1, 3])
def test_draft_is_what_will_be_planned(
    name: str, shards: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_hf_model(tmp_path / "hf", variant(name), dtype="bfloat16", shards=shards)
    to_forgather = _drafted(monkeypatch, source, tmp_path / "fg", UNCHECKED)
    back = _drafted(monkeypatch, tmp_path / "fg", tmp_path / "back", UNCHECKED)
    for drafted, planned in (to_forgather, back):
        assert len(drafted) == shards
        assert drafted == planned.shards
    assert snapshot(tmp_path / "back") == snapshot(source)


@pytest.mark.parametrize("direction", ["hf", "fg"])
def test_draft_needs_no_model(models: dict[str, Path], tmp_path: Path, direction: str) -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from forgather_convert import api, ConvertOptions\n"
        "from forgather_convert.planning import draft\n"
        "make = draft.draft_shards\n"
        "def look(request):\n"
        "    count = len(make(request))\n"
        "    print(count, [name for name in ('torch', 'transformers') if name in sys.modules])\n"
        "    sys.exit()\n"
        "draft.draft_shards = look\n"
        "api.convert(*map(Path, sys.argv[1:]), ConvertOptions(logit_check=False))\n"
    )
    command = [sys.executable, "-c", script, models[direction], tmp_path / "out"]
    answer = subprocess.run([*map(str, command)], capture_output=True, text=True, check=True)
    assert answer.stdout == "2 []\n"


def test_no_draft_of_what_is_computed(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = replace(UNCHECKED, dtype="float16")
    assert _drafted(monkeypatch, models["hf"], tmp_path / "cast", options)[0] == ()
    options = replace(UNCHECKED, max_shard_size=10_000)
    assert _drafted(monkeypatch, models["hf"], tmp_path / "divided", options)[0] == ()


def test_no_draft_of_a_model_that_gets_a_padding_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_hf_model(tmp_path / "hf", variant("llama-mha"), dtype="bfloat16")
    write_byte_level_bpe(source)
    drafted, planned = _drafted(monkeypatch, source, tmp_path / "fg", UNCHECKED)
    assert drafted == ()
    assert planned.vocabulary is not None


def _other_name(shard: ShardPlan) -> ShardPlan:
    return replace(shard, file_name=f"other-{shard.file_name}")


def _other_header(shard: ShardPlan) -> ShardPlan:
    return replace(shard, header=b"\x02\0\0\0\0\0\0\0{}")


def _other_order(shard: ShardPlan) -> ShardPlan:
    return replace(shard, tensors=shard.tensors[::-1])


@pytest.mark.parametrize("change", [_other_name, _other_header, _other_order])
@pytest.mark.parametrize("direction", ["hf", "fg"])
def test_wrong_draft_leaves_nothing(
    models: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    direction: str,
    change: Any,
) -> None:
    make = draft.draft_shards

    def guess_wrong(request: Any) -> tuple[ShardPlan, ...]:
        first, second = make(request)
        return first, change(second)

    monkeypatch.setattr(draft, "draft_shards", guess_wrong)
    convert(models[direction], tmp_path / "out", UNCHECKED)
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
        _drafted(monkeypatch, source, tmp_path / "out", UNCHECKED)
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
