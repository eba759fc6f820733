"""A ``.bin`` file that is filled in place is what ``torch.save`` writes."""

import resource
import signal
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest
import torch

from forgather_convert.errors import SourceError
from forgather_convert.execution.executor import write_shards
from forgather_convert.execution.pytorch_skeleton import write_pytorch_skeleton
from forgather_convert.execution.zip_checksums import write_checksums
from forgather_convert.planning.plan import ShardPlan, TensorPlan
from forgather_convert.tensors.dtypes import WEIGHT_DTYPES, from_torch
from forgather_convert.tensors.evaluation import bytes_of
from forgather_convert.tensors.expressions import Cast, Concatenate, Constant, Slice, Stored
from forgather_convert.tensors.tensor_ref import TensorRef
from forgather_convert.weights.zip_archive import read_zip_entries

pytestmark = pytest.mark.version_independent

_LARGE = (1 << 32) + 8
_DTYPES = (*WEIGHT_DTYPES, "int64", "uint8", "bool", "float8_e4m3fn")


def _values() -> dict[str, torch.Tensor]:
    """Every data type; ends of storages at every distance from the next one's beginning."""
    generator = torch.Generator().manual_seed(0)
    shapes: list[tuple[int, ...]] = [(3, 5), (), (0, 4), (1,), (7, 11), (2, 3, 4)]
    return {
        f"{dtype} {shape}": torch.randint(0, 2, shape, generator=generator).to(
            getattr(torch, dtype)
        )
        for dtype in _DTYPES
        for shape in shapes
    }


def _plan(values: dict[str, torch.Tensor], directory: Path) -> ShardPlan:
    """Copies of ranges, and every third tensor computed."""
    source = directory / "source"
    tensors = []
    with source.open("wb") as file:
        for number, (name, value) in enumerate(values.items()):
            dtype, shape = from_torch(value.dtype), tuple(value.shape)
            stored = Stored(TensorRef(name, dtype, shape, source, file.tell()))
            file.write(bytes_of(value.contiguous()))
            expression = (
                Constant(dtype, shape, bytes(bytes_of(value.contiguous())))
                if number % 3 == 0
                else stored
            )
            tensors.append(TensorPlan(name, expression))
    return ShardPlan("weights.bin", tuple(tensors), header=None)


def _bits(tensor: torch.Tensor) -> tuple[torch.dtype, torch.Size, bytes]:
    return tensor.dtype, tensor.shape, bytes(bytes_of(tensor.contiguous()))


@pytest.fixture
def written(tmp_path: Path) -> Path:
    shard = _plan(_values(), tmp_path)
    counts: list[int] = []
    write_shards([shard], tmp_path, counts.append)
    assert sum(counts) == shard.num_bytes
    return tmp_path / shard.file_name


@pytest.mark.parametrize("mmap", [False, True])
def test_torch_loads_it(written: Path, mmap: bool) -> None:
    loaded = torch.load(written, weights_only=True, mmap=mmap)
    values = _values()
    assert list(loaded) == list(values)
    assert {name: _bits(loaded[name]) for name in values} == {
        name: _bits(value) for name, value in values.items()
    }


def test_its_entries_are_those_of_torch(written: Path, tmp_path: Path) -> None:
    """With their checksums, in the directory and behind the bytes."""
    with (tmp_path / "expected").open("wb") as file:
        torch.save(_values(), file)

    def parts(path: Path) -> dict[str, tuple[int, int, bytes]]:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            content = file.read()
            entries = read_zip_entries(file)
            assert archive.testzip() is None
            # The pickle writes "cpu" once for all tensors or once for each; and torch makes the
            # identifier from the checksums, which are not known when it writes it.
            return {
                info.filename: (
                    info.CRC,
                    entries[info.filename].start % 64,
                    content[entries[info.filename].start : entries[info.filename].end + 16],
                )
                for info in archive.infolist()
                if not info.filename.endswith(("data.pkl", "serialization_id")) and info.file_size
            }

    found = parts(written)
    assert found == parts(tmp_path / "expected")
    assert len(found) > len(_DTYPES) * 5


def test_computed_tensors(tmp_path: Path) -> None:
    """A cast, and parts of tensors one behind the other."""
    value = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    (tmp_path / "source").write_bytes(bytes_of(value))
    stored = Stored(TensorRef("a", "float32", (6, 4), tmp_path / "source", 0))
    joined = Concatenate((Slice(stored, 0, 4, 2), Slice(stored, 0, 0, 3)), 0)
    tensors = (
        TensorPlan("cast", Cast(stored, "bfloat16")),
        TensorPlan("joined", joined),
        TensorPlan("columns", Slice(stored, 1, 1, 2)),
    )
    write_shards([ShardPlan("a.bin", tensors, header=None)], tmp_path, lambda count: None)
    loaded = torch.load(tmp_path / "a.bin", weights_only=True)
    assert torch.equal(loaded["cast"], value.bfloat16())
    assert torch.equal(loaded["joined"], torch.cat([value[4:], value[:3]]))
    assert torch.equal(loaded["columns"], value[:, 1:3])


def test_tensors_of_more_than_four_gigabytes(tmp_path: Path) -> None:
    """Places and sizes have 64 bits where they need them; what is not written takes no room."""
    path = tmp_path / "large.bin"
    shapes = {"first": (_LARGE // 2, 2), "second": (5,), "third": (0,)}
    tensors = tuple(
        TensorPlan(name, Stored(TensorRef(name, "uint8", shape, tmp_path / "source", 0)))
        for name, shape in shapes.items()
    )
    places = write_pytorch_skeleton(ShardPlan(path.name, tensors, header=None), path)
    value = torch.arange(5, dtype=torch.uint8)
    with path.open("r+b") as file:
        file.seek(places["second"])
        file.write(bytes_of(value))
    assert path.stat().st_size > _LARGE > 1000 * path.stat().st_blocks * 512
    loaded = torch.load(path, weights_only=True, mmap=True)
    assert {name: tuple(tensor.shape) for name, tensor in loaded.items()} == shapes
    assert torch.equal(loaded["second"], value)


def test_several_threads_write_files(tmp_path: Path) -> None:
    """What tells torch to leave the bytes out holds for a thread."""
    shard = _plan(_values(), tmp_path)
    with ThreadPoolExecutor(4) as pool:
        places = {*pool.map(lambda n: _written(shard, tmp_path / f"{n}.bin"), range(12))}
    assert len(places) == 1
    assert len({(tmp_path / f"{n}.bin").read_bytes() for n in range(12)}) == 1


def _written(shard: ShardPlan, path: Path) -> tuple[tuple[str, int], ...]:
    return tuple(write_pytorch_skeleton(shard, path).items())


@pytest.mark.parametrize("compute", [False, True])
def test_source_that_is_shorter_than_it_was(compute: bool, tmp_path: Path) -> None:
    """If it were mapped, its lost pages would end the process."""
    source = tmp_path / "source"
    rows = 1 << 16
    source.write_bytes(bytes(2 * rows))
    tensors = []
    for name, offset in (("first", 0), ("second", 2 * rows)):
        stored = Stored(TensorRef(name, "float16", (rows,), source, offset))
        tensors.append(TensorPlan(name, Cast(stored, "float32") if compute else stored))
    shard = ShardPlan("a.bin", tuple(tensors), header=None)
    with pytest.raises(SourceError, match="source ended while it was read"):
        write_shards([shard], tmp_path, lambda count: None)


def test_checksums_are_not_computed_to_the_end_if_nobody_wants_them(written: Path) -> None:
    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        write_checksums(written, stop)


@contextmanager
def _one_failing_write(position: int) -> Iterator[None]:
    """The first write beyond a position fails; those after it do not."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def lift(number: int, frame: FrameType | None) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    handler = signal.signal(signal.SIGXFSZ, lift)
    resource.setrlimit(resource.RLIMIT_FSIZE, (position, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("position", [0, 10_000])
def test_what_prevents_writing_is_said(position: int, tmp_path: Path) -> None:
    """An error of torch's own would hide it."""
    shard = _plan(_values(), tmp_path)
    with _one_failing_write(position), pytest.raises(OSError, match="File too large"):
        write_pytorch_skeleton(shard, tmp_path / "a.bin")
