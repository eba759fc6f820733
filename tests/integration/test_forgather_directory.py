"""A Forgather directory is all that its users need, wherever and with whatever it is loaded."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers.integrations.tensor_parallel import ALL_PARALLEL_STYLES

from support.models import load_forgather, padding_mask, prompt
from support.pairs import Pair, every_family
from support.variants import PLAIN, VARIANTS, Variant

float32 = pytest.mark.parametrize("dtype", ["float32"])

#: Runs where this project is not installed, as far as imports can tell.
WITHOUT_THE_PROJECT = """
import importlib.abc
import json
import sys

PROJECT = ("forgather", "forgather_convert")


class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        package = name.partition(".")[0]
        if package in PROJECT or package.startswith("forgather_convert_"):
            raise ModuleNotFoundError(f"No module named {name!r}")


sys.meta_path.insert(0, Absent())
for package in PROJECT:
    try:
        __import__(package)
    except ModuleNotFoundError:
        continue
    sys.exit(f"{package} can be imported")

import torch
from transformers import AutoModelForCausalLM

job = json.loads(sys.argv[1])
inputs = torch.load(job["inputs"])
logits = []
for directory in job["directories"]:
    model = AutoModelForCausalLM.from_pretrained(
        directory, trust_remote_code=True, dtype=getattr(torch, job["dtype"])
    )
    with torch.no_grad():
        logits.append(model.eval()(**inputs).logits)
torch.save(logits, job["logits"])
"""


@pytest.mark.parametrize("dtype", ["bfloat16"])
@torch.no_grad()
def test_nothing_of_this_project_is_needed(
    dtype: str, convert_once: Callable[[Variant, str], Pair], tmp_path: Path
) -> None:
    pairs = [convert_once(variant, dtype) for variant in VARIANTS]
    inputs = {"input_ids": prompt(), "attention_mask": padding_mask(prompt())}
    torch.save(inputs, tmp_path / "inputs.pt")
    job = {
        "directories": [str(pair.fg) for pair in pairs],
        "dtype": dtype,
        "inputs": str(tmp_path / "inputs.pt"),
        "logits": str(tmp_path / "logits.pt"),
    }
    process = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_PROJECT, json.dumps(job)],
        env={**os.environ, "HF_MODULES_CACHE": str(tmp_path / "modules")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    found = torch.load(tmp_path / "logits.pt")
    expected = [pair.load()[0](**inputs).logits for pair in pairs]
    unequal = [
        pair.variant.id
        for pair, one, other in zip(pairs, expected, found, strict=True)
        if not torch.equal(one, other)
    ]
    assert unequal == []


@float32
@torch.no_grad()
def test_models_with_the_same_base_name_do_not_disturb_each_other(
    dtype: str, convert_once: Callable[[Variant, str], Pair], tmp_path: Path
) -> None:
    """Transformers keeps all remote code of one base name in one package.

    The models are used after all are loaded, and loaded once more in another order.
    """
    pairs = [convert_once(variant, dtype) for variant in PLAIN]
    directories = [tmp_path / pair.variant.family / "model" for pair in pairs]
    for pair, directory in zip(pairs, directories, strict=True):
        shutil.copytree(pair.fg, directory)
    expected = [pair.load()[0](prompt()).logits for pair in pairs]
    models = [load_forgather(directory, dtype=torch.float32) for directory in directories]
    again = [load_forgather(directory, dtype=torch.float32) for directory in directories[::-1]]
    for candidates in (models, again[::-1]):
        for model, logits in zip(candidates, expected, strict=True):
            assert torch.equal(model(prompt()).logits, logits)


def matches(pattern: str, name: str) -> bool:
    """Whether a module is meant by a pattern, in which a star stands for a number."""
    return re.fullmatch(re.escape(pattern).replace(r"\*", r"\d+"), name) is not None


@every_family
@float32
def test_parallel_plans(pair: Pair) -> None:
    """The plans name modules of the model, and leave no projection of a layer out."""
    _, fg = pair.load()
    base = dict(fg.causal_lm.named_modules())
    plan = fg.config.base_model_tp_plan
    for pattern in (*plan, *fg.config.base_model_fsdp_plan):
        assert any(matches(pattern, name) for name in base), pattern
    linear = [name for name, module in base.items() if isinstance(module, torch.nn.Linear)]
    assert [name for name in linear if not any(matches(p, name) for p in plan)] == []

    heads = dict(fg.named_modules())
    assert set(type(fg)._tp_plan) | set(type(fg)._fsdp_plan) <= set(heads)
    assert set(fg.tp_plan.values()) <= set(ALL_PARALLEL_STYLES.keys())
    assert f"causal_lm.{next(iter(plan))}" in fg.tp_plan
