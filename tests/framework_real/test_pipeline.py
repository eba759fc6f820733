"""The framework divides what was converted into the stages of a pipeline."""

import copy
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from support.real_framework import (
    Models,
    Source,
    Training,
    load_as_trainer,
    logits,
    random_ids,
)

GetModels = Callable[[Source], Models]
RUN = Path(__file__).with_name("run_pipeline.py")

SOURCES = [
    Source("llama", tied=True, dtype="float32", shards=1),
    Source("mistral", tied=False, dtype="bfloat16", shards=3),
    Source("qwen3", tied=True, dtype="bfloat16", shards=3),
]
each_source = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.id)


def split(model: Any, num_stages: int) -> list[nn.Module]:
    """The stages, made as the framework's splitter makes them."""
    from forgather.ml.trainer.pipeline.pipeline_split_utils import (
        generate_llm_fqn_per_model_part,
        split_model,
    )

    parts = generate_llm_fqn_per_model_part(num_stages, model.config.num_hidden_layers)
    stages = [copy.deepcopy(model) for _ in parts]
    for stage, names in zip(stages, parts, strict=True):
        split_model(stage, names)
    return stages


def run_stages(stages: list[nn.Module], ids: torch.Tensor, **arguments: Any) -> torch.Tensor:
    """Hands the output of each stage to the next as its first argument."""
    value = ids
    with torch.no_grad():
        for stage in stages:
            value = stage(value, **arguments)
            assert isinstance(value, torch.Tensor)
    return value


@each_source
# Of six stages, the first has no layer and the last neither.
@pytest.mark.parametrize("num_stages", [2, 3, 6])
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_stages_give_equal_logits(
    source: Source, num_stages: int, mode: str, models: GetModels
) -> None:
    model = load_as_trainer(models(source).ours).train(mode == "train")
    ids = random_ids()
    expected = logits(model, ids, use_cache=False)
    stages = split(model, num_stages)
    assert torch.equal(run_stages(stages, ids), expected)
    mask = model.get_attn_mask_fn()(input_ids=ids)
    assert torch.equal(run_stages(stages, ids, attention_mask=mask), expected)
    hidden_states = run_stages(stages, ids, attention_mask=mask, return_hidden_states=True)
    assert torch.equal(model.get_output_embeddings()(hidden_states), expected)


@each_source
def test_parameters_are_divided(source: Source, models: GetModels) -> None:
    model = load_as_trainer(models(source).ours)
    names = [name for stage in split(model, 3) for name in stage.state_dict()]
    assert sorted(names) == sorted(model.state_dict())


@each_source
@pytest.mark.parametrize("attn_implementation", ["eager", "sdpa"])
def test_masks_of_packed_sequences(
    source: Source, attn_implementation: str, models: GetModels
) -> None:
    model = load_as_trainer(models(source).ours)
    model.set_attn_implementation(attn_implementation)
    model.train()
    ids = random_ids()
    positions = (torch.arange(ids.shape[1]) % 8).expand_as(ids)
    mask = model.get_attn_mask_fn()(input_ids=ids, position_ids=positions)
    arguments = {"attention_mask": mask, "position_ids": positions}
    expected = logits(model, ids, position_ids=positions)
    assert torch.equal(run_stages(split(model, 2), ids, **arguments), expected)
    assert torch.equal(logits(model, ids, **arguments), expected)
    assert not torch.equal(logits(model, ids), expected)


@pytest.mark.parametrize("fused_loss", [False, True], ids=["plain", "fused"])
def test_training_in_two_processes(
    fused_loss: bool, models: GetModels, project: Path, tmp_path: Path
) -> None:
    """The framework's trainer for pipelines, with the checkpoint that both processes write."""
    made = models(Source("llama", dtype="float32"))
    trainings = []
    for model in (made.ours, made.theirs):
        place = shutil.copytree(model, tmp_path / model.name)
        arguments = {"model_id_or_path": str(place), "fused_loss": fused_loss}
        _run_processes(project, arguments)
        trainings.append(Training.read(place))
        assert (place / "checkpoints" / "checkpoint-4").is_dir()
    assert len(trainings[0].losses) == 4
    assert trainings[0].losses == pytest.approx(trainings[1].losses, abs=1e-4)
    trained = load_as_trainer(tmp_path / "ours")
    expected = logits(load_as_trainer(tmp_path / "theirs"), random_ids())
    torch.testing.assert_close(logits(trained, random_ids()), expected, atol=1e-3, rtol=0)


def _run_processes(project: Path, arguments: dict[str, Any]) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    result = subprocess.run(
        [*command, RUN, project, "pipeline.yaml", json.dumps(arguments)],
        env=os.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stdout
