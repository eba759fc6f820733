"""Tensors of mapped files: files larger than memory, and private writes."""

import os
import struct
from pathlib import Path

import pytest
import torch

from forgather_convert.errors import SourceError
from forgather_convert.tensors.tensor_ref import TensorRef
from forgather_convert.weights.checkpoint import find_weights, open_checkpoint
from forgather_convert.weights.mapped_file import TensorReader
from forgather_convert.weights.pytorch_file import read_tensor_refs
from forgather_convert.weights.safetensors_file import build_header, encode_header

pytestmark = pytest.mark.version_independent

_MEMORY = Path("/proc/meminfo")
_OVERCOMMIT = Path("/proc/sys/vm/overcommit_memory")


def _memory_and_swap() -> int:
    """All memory that the system could promise, in bytes."""
    lines = _MEMORY.read_text(encoding="ascii").splitlines()
    sizes = [line.split()[1] for line in lines if line.startswith(("MemTotal:", "SwapTotal:"))]
    assert len(sizes) == 2
    return sum(map(int, sizes)) * 1024


@pytest.mark.skipif(not _MEMORY.exists(), reason="only Linux tells how much memory there is")
@pytest.mark.skipif(
    _OVERCOMMIT.exists() and _OVERCOMMIT.read_text().strip() == "2",
    reason="this system forbids to promise more memory than there is",
)
def test_a_file_larger_than_memory_is_mapped(tmp_path: Path) -> None:
    """Its bytes are a hole, which takes no room on the disk."""
    last = torch.arange(10.0)
    size = _memory_and_swap() * 3 // 2 // 4
    tensors = [("large", "float32", (size,)), ("last", "float32", (10,))]
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:
        file.write(encode_header(build_header(tensors, {})))
        file.seek(size * 4, os.SEEK_CUR)
        file.write(last.numpy().tobytes())
    try:
        assert path.stat().st_blocks * 512 < 1_000_000
        files = find_weights(tmp_path)
        assert files is not None
        refs = open_checkpoint(files).tensors
        with TensorReader() as reader:
            assert torch.equal(reader.read(refs["last"]), last)
            large = reader.read(refs["large"])
            assert large[-1] == 0
            assert large.nbytes > _memory_and_swap()
    finally:
        path.unlink()


def test_a_pytorch_file_of_many_gigabytes_is_mapped(tmp_path: Path) -> None:
    """Its directory lies at its end, behind the bytes of the tensors."""
    path = tmp_path / "a.bin"
    torch.save({"a": torch.arange(10.0)}, path)
    (ref,) = read_tensor_refs(path)
    gap = 64 << 30
    data = path.read_bytes()
    with path.open("wb") as file:
        # The places in the directory count from the first entry, which need not be the first byte.
        file.write(data[:4])
        file.seek(gap)
        file.write(data)
    try:
        (moved,) = read_tensor_refs(path)
        assert moved.offset == ref.offset + gap
        with TensorReader() as reader:
            assert torch.equal(reader.read(moved), torch.arange(10.0))
    finally:
        path.unlink()


def test_writes_do_not_reach_the_file(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(struct.pack("<4f", 1, 2, 3, 4))
    ref = TensorRef("a", "float32", (4,), path, 0)
    with TensorReader() as reader:
        reader.read(ref).zero_()
        assert reader.read(ref).tolist() == [0, 0, 0, 0]
    with TensorReader() as reader:
        assert reader.read(ref).tolist() == [1, 2, 3, 4]


def test_a_file_that_cannot_be_mapped(tmp_path: Path) -> None:
    ref = TensorRef("a", "float32", (4,), tmp_path / "gone", 0)
    with TensorReader() as reader, pytest.raises(SourceError, match="gone cannot be mapped"):
        reader.read(ref)
