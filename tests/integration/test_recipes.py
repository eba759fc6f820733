"""Every recipe of the documentation works as it is written there."""

import re
import shlex
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from support.command import run_convert
from support.converting import logits_of
from support.models import load_forgather, load_hf, write_hf_model
from support.tokenizers import write_byte_level_bpe
from support.variants import BASE, Variant

PAGE = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text()
SECTIONS = dict(
    zip(*[iter(re.split(r"^## (.+)\n", PAGE, flags=re.MULTILINE)[1:])] * 2, strict=True)
)


class Recipes:
    """A directory in which recipes are followed, and the names that they have defined."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.names: dict[str, Any] = {}

    def follow(self, section: str) -> None:
        """Runs the blocks of a section, in their order."""
        blocks = re.findall(r"^```(\w+)\n(.*?)^```", SECTIONS[section], re.MULTILINE | re.DOTALL)
        assert blocks
        with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
            patch.chdir(self.directory)
            # What libraries say of small machines and smaller data is not the matter here.
            warnings.simplefilter("ignore")
            for language, text in blocks:
                if language == "python":
                    exec(compile(text, f"docs/recipes.md: {section}", "exec"), self.names)
                elif language == "bash":
                    for line in text.splitlines():
                        command, *arguments = shlex.split(line)
                        assert (command, arguments.pop(0)) == ("forgather", "convert")
                        run_convert(*arguments)

    def __truediv__(self, name: str) -> Path:
        return self.directory / name


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> Recipes:
    """A directory with a model, and what the page's first section makes of it.

    All tests share it, in the order of the page, like readers who follow it from top to bottom.
    """
    recipes = Recipes(tmp_path_factory.mktemp("recipes"))
    fields = {"num_hidden_layers": 2, "hidden_size": 32, "intermediate_size": 48, "vocab_size": 400}
    hf = write_hf_model(recipes / "hf_llama", Variant("llama", "small", {**BASE, **fields}))
    assert write_byte_level_bpe(hf) <= 400
    recipes.follow("Before")
    return recipes


def assert_trained(recipes: Recipes, name: str, checkpoint: str) -> None:
    """What came back is not what was there before, and is the checkpoint, bit for bit."""
    back = load_hf(recipes / name, "llama")
    before = load_hf(recipes / "hf_llama", "llama")
    assert not torch.equal(back.lm_head.weight[:400], before.lm_head.weight)
    assert torch.equal(logits_of(back), logits_of(load_forgather(recipes / checkpoint)))


def test_trainer(recipes: Recipes) -> None:
    recipes.follow("Trainer")
    assert_trained(recipes, "hf_trained", "fg_llama/checkpoint-4")


def test_resume(recipes: Recipes, monkeypatch: pytest.MonkeyPatch) -> None:
    recipes.follow("Resume")
    assert_trained(recipes, "hf_resumed", "resumed/checkpoint-4")
    resumed = load_forgather(recipes / "resumed" / "checkpoint-4").state_dict()
    shutil.rmtree(recipes / "resumed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        monkeypatch.chdir(recipes.directory)
        recipes.names["make_trainer"](max_steps=4).train()
    at_once = load_forgather(recipes / "resumed" / "checkpoint-4").state_dict()
    assert [name for name in resumed if not torch.equal(resumed[name], at_once[name])] == []


@pytest.mark.parametrize("method", ["SFT", "DPO", "GRPO"])
def test_trl(recipes: Recipes, method: str) -> None:
    """Not among the test dependencies: see the environment trl of tox."""
    pytest.importorskip("trl")
    recipes.follow(f"{method} with TRL")
    name = method.lower()
    assert_trained(recipes, f"hf_{name}", f"{name}/checkpoint-2")


def test_peft(recipes: Recipes) -> None:
    recipes.follow("PEFT")
    deployed, trained = recipes.names["deployed"].eval(), recipes.names["model"].eval()
    logits = logits_of(deployed)
    assert torch.equal(logits, logits_of(trained)[..., :400])
    assert not torch.equal(logits, logits_of(load_hf(recipes / "hf_llama", "llama")))


def test_fsdp2(recipes: Recipes, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process is enough to see what is written."""
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_PORT", "0")
    recipes.follow("FSDP2")
    back = transformers.AutoModelForCausalLM.from_pretrained(recipes / "hf_fsdp2")
    before = load_hf(recipes / "hf_llama", "llama")
    expected = recipes.names["model"].state_dict()
    head = expected["lm_head.weight"].full_tensor()
    assert torch.equal(back.lm_head.weight, head)
    assert not torch.equal(head[:400], before.lm_head.weight)


@pytest.mark.parametrize("section", SECTIONS)
def test_what_is_not_run_says_so(section: str) -> None:
    text = SECTIONS[section]
    assert text.count("```text") == len(re.findall(r"\*\*not run\*\*", text, re.IGNORECASE))
