"""The memory of a conversion does not grow with the model."""

import json
import mmap
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import support
from support.memory import peak_memory
from support.sparse_model import LAYER_BYTES, write_sparse_llama

pytestmark = [
    pytest.mark.version_independent,
    pytest.mark.skipif(
        not Path("/proc/self/status").exists(),
        reason="only Linux tells a process's anonymous memory",
    ),
]

_SMALL, _LARGE = 2, 14
#: Several times less than the models differ in size.
_ALLOWED = 100_000_000
_BLOCK = 300_000_000


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """A directory that does not outlive the test: pytest would keep gigabytes in it."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def test_the_measure_sees_what_a_process_allocates() -> None:
    def allocate() -> None:
        block = b"x" * _BLOCK
        time.sleep(0.1)
        del block

    before = peak_memory(lambda: None)
    assert peak_memory(allocate) - before > _BLOCK * 0.9


def test_the_measure_does_not_see_mapped_files(scratch: Path) -> None:
    """Pages of a file that is only read belong to the page cache."""
    path = scratch / "holes"
    path.touch()
    os.truncate(path, _BLOCK)

    def read_all() -> None:
        with path.open("rb") as file:
            view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        assert not any(view[start] for start in range(0, _BLOCK, mmap.PAGESIZE))

    before = peak_memory(lambda: None)
    assert peak_memory(read_all) - before < _BLOCK * 0.1


@dataclass(frozen=True)
class Case:
    """Conversions of models to Forgather and back.

    Attributes:
        options: Fields of ``ConvertOptions``.
        is_quantized: Whether the models are.
    """

    options: dict[str, Any]
    is_quantized: bool = False


_CASES = {
    # The reverse conversion reads the format that was written before.
    "safetensors": Case({"weights_format": "safetensors", "logit_check": False}),
    "pytorch": Case({"weights_format": "pytorch", "logit_check": False}),
    "checked": Case({}),
    "cast and checked": Case({"dtype": "float32"}),
    # The check computes the numbers of each weight again, by transformers' code where it can.
    "dequantized and checked": Case({"dequantize": True}, is_quantized=True),
}


@pytest.fixture(scope="module")
def growth(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[int]]:
    """For each case, how many more bytes a large model needs than a small one, by direction."""
    assert LAYER_BYTES * (_LARGE - _SMALL) > 3 * _ALLOWED
    root = tmp_path_factory.mktemp("models")
    jobs = []
    for name, case in _CASES.items():
        sizes = [(root / f"{name}-{layers}", layers) for layers in (_SMALL, _LARGE)]
        models = [write_sparse_llama(*size, case.is_quantized) for size in sizes]
        jobs.append((case.options, [*map(str, models)]))
    paths = [str(Path(support.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    result = subprocess.run(
        [sys.executable, "-m", "support.memory", json.dumps(jobs)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    # pytest would keep gigabytes in it.
    shutil.rmtree(root)
    assert result.returncode == 0, result.stderr
    return {
        name: [large - small for small, large in zip(*peaks, strict=True)]
        for name, peaks in zip(_CASES, json.loads(result.stdout), strict=True)
    }


@pytest.mark.parametrize("case", _CASES)
def test_memory_does_not_grow(case: str, growth: dict[str, list[int]]) -> None:
    """Models larger than memory can be converted to another dtype, dequantized and checked."""
    there, back = growth[case]
    assert there < _ALLOWED
    assert back < _ALLOWED
