"""Runs Forgather models in a process where this project cannot be imported."""

import atexit
import functools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch

_TIMEOUT = 600

_PROGRAM = """
import importlib.abc
import json
import os
import sys
import traceback

absent = set()
replies = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def is_absent(name):
    package = name.partition(".")[0]
    return package in absent or package.startswith("forgather")


class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if is_absent(name):
            raise ModuleNotFoundError(f"No module named {name!r}")


sys.meta_path.insert(0, Absent())

import torch
from transformers import AutoModelForCausalLM


def run(job):
    absent.update(job["absent"])
    present = [name for name in sys.modules if is_absent(name)]
    if present:
        raise ImportError(f"already imported: {present}")
    outputs = []
    for model_job, inputs in zip(job["models"], torch.load(job["inputs"]), strict=True):
        model = AutoModelForCausalLM.from_pretrained(
            model_job["directory"],
            trust_remote_code=True,
            local_files_only=True,
            dtype=getattr(torch, model_job["dtype"]),
        )
        for tensor in (*model.parameters(), *model.buffers()):
            # The last bits of a product of one row depend on where in memory the matrix begins.
            tensor.data = tensor.data.clone()
        with torch.no_grad():
            outputs.append(model.eval()(**inputs).logits)
    torch.save(outputs, job["outputs"])


for line in sys.stdin:
    error = None
    try:
        run(json.loads(line))
    except Exception:
        error = traceback.format_exc()
    print(json.dumps(error), file=replies, flush=True)
"""


class IsolatedProcess:
    """A process that can load models' directories, but cannot import this project or a plugin.

    All suites of a session share it, since starting it takes longer than loading their models.

    Args:
        directory: A directory for its files.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self._directory = directory
        with self._messages.open("wb") as messages:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, and the program above
                [sys.executable, "-c", _PROGRAM],
                env={**os.environ, "HF_MODULES_CACHE": str(directory / "modules")},
                cwd=directory,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=messages,
                text=True,
            )
        atexit.register(self.close)

    @property
    def _messages(self) -> Path:
        return self._directory / "messages.txt"

    def logits(
        self,
        models: Sequence[tuple[Path, str]],
        inputs: Sequence[Mapping[str, torch.Tensor]],
        absent: Iterable[str],
        scratch: Path,
    ) -> list[torch.Tensor]:
        """The logits of Forgather models.

        Args:
            models: Each model's directory and dtype.
            inputs: Each model's inputs.
            absent: Packages that cannot be imported there, besides this project's own.
            scratch: A directory for inputs and outputs.

        Raises:
            RuntimeError: A model does not load or run, or the process ended; with its output.
        """
        torch.save(list(inputs), scratch / "inputs.pt")
        job = {
            "models": [{"directory": str(path), "dtype": dtype} for path, dtype in models],
            "absent": list(absent),
            "inputs": str(scratch / "inputs.pt"),
            "outputs": str(scratch / "outputs.pt"),
        }
        error = self._ask(json.dumps(job))
        if error is not None:
            raise RuntimeError(f"The models do not load by themselves:\n{error}")
        outputs: list[torch.Tensor] = torch.load(scratch / "outputs.pt")
        return outputs

    def _ask(self, job: str) -> str | None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        deadline = threading.Timer(_TIMEOUT, self._process.kill)
        deadline.start()
        try:
            self._process.stdin.write(job + "\n")
            self._process.stdin.flush()
            reply = self._process.stdout.readline()
        except BrokenPipeError:
            reply = ""
        finally:
            deadline.cancel()
        if not reply:
            isolated_process.cache_clear()
            self.close()
            return f"The process ended: {self._messages.read_text(errors='replace')}"
        error: str | None = json.loads(reply)
        return error

    def close(self) -> None:
        """Ends the process."""
        atexit.unregister(self.close)
        self._process.kill()
        self._process.communicate()


@functools.cache
def isolated_process(directory: Path) -> IsolatedProcess:
    """The process of a session, which is started by the first call, or again if it has ended.

    Args:
        directory: A directory for its files; the same for the whole session.
    """
    return IsolatedProcess(directory)
