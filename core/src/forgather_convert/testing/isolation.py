"""Runs Forgather models where this project cannot be imported."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch

_TIMEOUT = 600

_PROGRAM = """
import importlib.abc
import json
import sys

job = json.loads(sys.argv[1])


def is_absent(name):
    package = name.partition(".")[0]
    return package in job["absent"] or package.startswith("forgather_convert")


class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if is_absent(name):
            raise ModuleNotFoundError(f"No module named {name!r}")


sys.meta_path.insert(0, Absent())
present = [name for name in sys.modules if is_absent(name)]
if present:
    sys.exit(f"already imported: {present}")

import torch
from transformers import AutoModelForCausalLM

outputs = []
for model_job, inputs in zip(job["models"], torch.load(job["inputs"]), strict=True):
    model = AutoModelForCausalLM.from_pretrained(
        model_job["directory"],
        trust_remote_code=True,
        local_files_only=True,
        dtype=getattr(torch, model_job["dtype"]),
    )
    with torch.no_grad():
        outputs.append(model.eval()(**inputs).logits)
torch.save(outputs, job["outputs"])
"""


def logits_in_isolation(
    models: Sequence[tuple[Path, str]],
    inputs: Sequence[Mapping[str, torch.Tensor]],
    absent: Iterable[str],
    scratch: Path,
) -> list[torch.Tensor]:
    """The logits of Forgather models, loaded in a process that has only their directories.

    Args:
        models: Each model's directory and dtype.
        inputs: Each model's inputs.
        absent: Packages that cannot be imported there, beside this project's own.
        scratch: A directory for files of the process.

    Raises:
        RuntimeError: The process failed; with what it said.
    """
    torch.save(list(inputs), scratch / "inputs.pt")
    job = {
        "models": [{"directory": str(path), "dtype": dtype} for path, dtype in models],
        "absent": ["forgather", *absent],
        "inputs": str(scratch / "inputs.pt"),
        "outputs": str(scratch / "outputs.pt"),
    }
    process = subprocess.run(  # noqa: S603 - this interpreter, with a program from above
        [sys.executable, "-c", _PROGRAM, json.dumps(job)],
        env={**os.environ, "HF_MODULES_CACHE": str(scratch / "modules")},
        cwd=scratch,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
        check=False,
    )
    if process.returncode != 0:
        raise RuntimeError(f"The models do not load by themselves:\n{process.stderr}")
    outputs: list[torch.Tensor] = torch.load(scratch / "outputs.pt")
    return outputs
