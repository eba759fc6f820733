"""The memory of a conversion does not grow with the model."""

import json
import mmap
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
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


@pytest.mark.parametrize("weights_format", ["safetensors", "pytorch"])
def test_memory_does_not_grow(weights_format: str, scratch: Path) -> None:
    """The reverse conversion reads the format that was written before."""
    assert_bounded(scratch, {"weights_format": weights_format, "logit_check": False})


@pytest.mark.parametrize("options", [{}, {"dtype": "float32"}], ids=["same dtype", "cast"])
def test_neither_the_logit_check_nor_a_cast_holds_the_model(
    options: dict[str, Any], scratch: Path
) -> None:
    """Models larger than memory can be converted to another dtype and checked."""
    assert_bounded(scratch, options)


def test_neither_dequantizing_nor_its_check_holds_the_model(scratch: Path) -> None:
    """The check computes the numbers of each weight again, by transformers' code where it can."""
    assert_bounded(scratch, {"dequantize": True}, is_quantized=True)


def assert_bounded(scratch: Path, options: dict[str, Any], is_quantized: bool = False) -> None:
    """Both directions need as much memory for a large model as for a small one."""
    assert LAYER_BYTES * (_LARGE - _SMALL) > 3 * _ALLOWED
    small = write_sparse_llama(scratch / "small", _SMALL, is_quantized)
    large = write_sparse_llama(scratch / "large", _LARGE, is_quantized)
    paths = [str(Path(support.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    result = subprocess.run(
        [sys.executable, "-m", "support.memory", json.dumps(options), small, large],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    of_small, of_large = json.loads(result.stdout)
    for there_or_back in (0, 1):
        assert of_large[there_or_back] - of_small[there_or_back] < _ALLOWED
