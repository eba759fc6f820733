"""Models that the framework makes from scratch convert, both ways."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from forgather_convert import ConvertOptions, convert, verify
from support.hub_cache import add_snapshot
from support.real_framework import (
    CHECKOUT,
    Models,
    Source,
    load_as_trainer,
    logits,
    random_ids,
    train,
    write_tokenizer,
)

GetModels = Callable[[Source], Models]
PROJECTS = CHECKOUT / "examples" / "models"

#: Every configuration of the projects of these families, and the tokenizer that it asks the Hub
#: for; None where another project of the framework trains one on a data set of the Hub.
CONFIGS = {
    ("llama", "default.yaml"): "meta-llama/Llama-2-7b",
    ("llama", "4M.yaml"): None,
    ("llama", "117M.yaml"): None,
    ("llama", "llama2_7b.yaml"): "meta-llama/Llama-2-7b",
    ("llama", "llama3.2_1b.yaml"): "meta-llama/Llama-3.2-1B",
    ("mistral", "default.yaml"): "mistralai/Mistral-7B-v0.1",
    ("mistral", "4M.yaml"): None,
    ("mistral", "119M.yaml"): None,
    ("mistral", "7B_instruct.yaml"): "mistralai/Mistral-7B-Instruct-v0.2",
    ("qwen3", "default.yaml"): "Qwen/Qwen3-8B",
    ("qwen3", "4M.yaml"): None,
}
#: What is made smaller; how many key and value heads there are is left to the configuration.
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 8,
    "num_hidden_layers": 3,
}


def test_every_configuration_is_known() -> None:
    found = {
        (family, path.name)
        for family in ("llama", "mistral", "qwen3")
        for path in (PROJECTS / family / "templates" / "configs").iterdir()
    }
    assert found == set(CONFIGS)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer, in the Hub's cache by all the names that configurations have for one."""
    directory = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(directory)
    for name in {each for each in CONFIGS.values() if each}:
        add_snapshot(Path(os.environ["HF_HOME"], "hub"), name, "0" * 40, directory)
    return directory


def make_model(directory: Path, family: str, config: str, tokenizer: Path, **sizes: Any) -> Any:
    """Makes a model by the framework's project, as its trainings do, and saves new weights."""
    from forgather.ml.sharded_checkpoint import save_checkpoint
    from forgather.project import Project

    arguments = {"output_dir": str(directory), **SIZES, **sizes}
    loaded = AutoTokenizer.from_pretrained(tokenizer)
    with mock.patch("forgather.from_project", return_value=loaded):
        project = Project(config, str(PROJECTS / family), **arguments)
        _, _, constructor = project("pretrained_config", "pretrained_tokenizer", "model")
    torch.manual_seed(0)
    model = constructor().eval()
    save_checkpoint(str(directory), model)
    return model


each_config = pytest.mark.parametrize(
    ("family", "config"), CONFIGS, ids=["-".join(each) for each in CONFIGS]
)


@each_config
@pytest.mark.parametrize("trust_remote_code", [False, True], ids=["ours", "theirs"])
def test_made_from_scratch(
    family: str, config: str, trust_remote_code: bool, tokenizer: Path, tmp_path: Path
) -> None:
    """The logits are compared with what our code makes of the model, or with its own code."""
    made, hf, again = (tmp_path / name for name in ("made", "hf", "again"))
    expected = logits(make_model(made, family, config, tokenizer), random_ids())
    options = ConvertOptions(
        model_type=family, dtype="float32", trust_remote_code=trust_remote_code
    )
    convert(made, hf, options)
    written = AutoModelForCausalLM.from_pretrained(hf)
    assert type(written).__module__ == f"transformers.models.{family}.modeling_{family}"
    torch.testing.assert_close(logits(written, random_ids()), expected, atol=1e-5, rtol=0)

    convert(hf, again)
    restored = load_as_trainer(again)
    assert torch.equal(logits(restored, random_ids()), logits(written, random_ids()))


def test_as_many_key_heads_as_heads(tokenizer: Path, tmp_path: Path) -> None:
    """The default of the framework's models: ``num_key_value_heads`` is null."""
    made, hf = tmp_path / "made", tmp_path / "hf"
    make_model(made, "llama", "default.yaml", tokenizer)
    assert json.loads((made / "config.json").read_text())["num_key_value_heads"] is None
    convert(made, hf, ConvertOptions(model_type="llama"))
    assert json.loads((hf / "config.json").read_text())["num_key_value_heads"] == 8


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen3"])
def test_training_from_scratch(family: str, tokenizer: Path, project: Path, tmp_path: Path) -> None:
    """Trained by the framework, in checkpoints of its own, and converted from the last one."""
    made, hf = tmp_path / "made", tmp_path / "hf"
    make_model(made, family, "default.yaml", tokenizer, tie_word_embeddings=True)
    train(project, made)
    convert(made, hf, ConvertOptions(model_type=family, dtype="float32"))
    written = AutoModelForCausalLM.from_pretrained(hf)
    expected = logits(load_as_trainer(made), random_ids())
    torch.testing.assert_close(logits(written, random_ids()), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen3"])
def test_of_the_frameworks_own_converter(
    family: str, models: GetModels, project: Path, tmp_path: Path
) -> None:
    """It says which family it is, and loses the length of all but Llamas."""
    made = models(Source(family, tied=True))
    comparison = verify(made.theirs, made.ours)
    assert comparison.tensors is not None
    assert comparison.tensors.are_equal
    assert comparison.logits is not None
    assert comparison.logits.are_equal
    lost = [] if family == "llama" else ["max_position_embeddings"]
    assert [difference.name for difference in comparison.config] == lost
    trained = shutil.copytree(made.theirs, tmp_path / "trained")
    train(project, trained)
    convert(trained, tmp_path / "hf")
    written = AutoModelForCausalLM.from_pretrained(tmp_path / "hf")
    expected = logits(load_as_trainer(trained), random_ids())
    torch.testing.assert_close(logits(written, random_ids()), expected, atol=1e-5, rtol=0)
