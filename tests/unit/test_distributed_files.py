"""What is read of distributed checkpoints is what torch loads from them, or it is refused."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata

from forgather_convert.errors import SourceError
from forgather_convert.tensors.dtypes import to_torch
from forgather_convert.tensors.evaluation import Evaluator
from forgather_convert.tensors.expressions import stored
from forgather_convert.weights.formats import open_core_weights
from support.sharded_checkpoints import save_alone, save_divided

pytestmark = pytest.mark.version_independent

_MATRIX = torch.arange(35.0).reshape(5, 7)


def _read(directory: Path) -> dict[str, torch.Tensor]:
    checkpoint = open_core_weights(directory)
    assert checkpoint is not None
    with Evaluator() as evaluator:
        return {
            name: torch.cat([_none(ref.dtype), *map(torch.flatten, pieces)]).reshape(ref.shape)
            for name, ref in checkpoint.tensors.items()
            for pieces in [evaluator.pieces(stored(ref), limit=16)]
        }


def _none(dtype: str) -> torch.Tensor:
    return torch.empty(0, dtype=to_torch(dtype))


def _assert_is(directory: Path, expected: dict[str, torch.Tensor]) -> None:
    found = _read(directory)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape)
        assert torch.equal(found[name], value), name


@pytest.mark.parametrize(
    ("mesh", "dims"),
    [((3,), (0,)), ((3,), (1,)), ((2, 2), (0, 1)), ((2, 2), (1, 1))],
    ids=["rows", "columns", "blocks", "columns of columns"],
)
def test_tensors_divided_in_any_dimension(
    mesh: tuple[int, ...], dims: tuple[int, ...], tmp_path: Path
) -> None:
    state = {
        "matrix": _MATRIX,
        "bfloat16": _MATRIX.to(torch.bfloat16),
        "fewer than processes": torch.ones(1, 1),
        "cube": torch.arange(60.0).reshape(3, 4, 5),
    }
    save_divided(tmp_path / "checkpoint", state, mesh, dims)
    _assert_is(tmp_path / "checkpoint", state)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with one part of a tensor."""
    directory = tmp_path_factory.mktemp("saved") / "checkpoint"
    save_alone(directory, {"w": _MATRIX})
    return directory


@pytest.fixture
def checkpoint(saved: Path, tmp_path: Path) -> Path:
    return shutil.copytree(saved, tmp_path / "checkpoint")


def _load(directory: Path) -> Any:
    return pickle.loads((directory / ".metadata").read_bytes())


def _edit(directory: Path, change: Callable[[Any], object]) -> None:
    metadata = _load(directory)
    change(metadata)
    (directory / ".metadata").write_bytes(pickle.dumps(metadata))


def test_what_one_process_saves(tmp_path: Path) -> None:
    state = {
        "scalar": torch.tensor(3.0),
        "empty": torch.empty(0, 4),
        "view": torch.arange(35.0).reshape(5, 7)[1:3, 2:5],
        "transposed": _MATRIX.t(),
        "expanded": _MATRIX[0].expand(4, 7),
        "parameter": torch.nn.Parameter(_MATRIX),
        "int64": torch.arange(4),
        "bool": torch.tensor([True, False]),
        "float8": _MATRIX.to(torch.float8_e4m3fn),
    }
    save_alone(tmp_path / "checkpoint", state)
    found = _read(tmp_path / "checkpoint")
    assert found.keys() == state.keys()
    for name, value in state.items():
        assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape)
        bits = (
            tensor.detach().contiguous().view(-1).view(torch.uint8)
            for tensor in (found[name], value)
        )
        assert torch.equal(*bits), name


@pytest.mark.parametrize(
    "content",
    [
        {"model": {"w": _MATRIX}},
        {"app": {"model": {"w": _MATRIX}, "optimizer": {"w": _MATRIX + 1}}, "step": 5},
        {"model": {"w": _MATRIX}, "optim": {"state": {"w": {"exp_avg": _MATRIX + 1}}}},
        {"weights": {"w": _MATRIX}},
    ],
    ids=["model", "application", "optimizer", "another key"],
)
def test_the_keys_that_lead_to_the_model_are_no_part_of_names(
    content: dict[str, Any], tmp_path: Path
) -> None:
    save_alone(tmp_path / "checkpoint", content)
    _assert_is(tmp_path / "checkpoint", {"w": _MATRIX})


def test_models_that_cannot_be_told_apart(tmp_path: Path) -> None:
    content = {"policy": {"w": _MATRIX}, "reference": {"w": _MATRIX}}
    save_alone(tmp_path / "checkpoint", content)
    with pytest.raises(SourceError, match="several keys"):
        _read(tmp_path / "checkpoint")


def test_a_checkpoint_without_tensors(tmp_path: Path) -> None:
    save_alone(tmp_path / "checkpoint", {"step": 3})
    with pytest.raises(SourceError, match="has no tensors"):
        _read(tmp_path / "checkpoint")


def _chunk(directory: Path) -> Any:
    return _load(directory).state_dict_metadata["w"].chunks[0]


def _with_chunks(*places: tuple[tuple[int, ...], tuple[int, ...]]) -> Callable[[Path], None]:
    """Says that the tensor is in other parts; all of them are in the place of the one."""

    def edit(metadata: Any) -> None:
        (index,) = metadata.storage_data
        info = metadata.storage_data[index]
        metadata.state_dict_metadata["w"].chunks = [
            ChunkStorageMetadata(torch.Size(origin), torch.Size(sizes)) for origin, sizes in places
        ]
        metadata.storage_data = {
            type(index)(index.fqn, torch.Size(origin)): info for origin, _ in places
        }

    return lambda directory: _edit(directory, edit)


def _grow(directory: Path) -> None:
    def edit(metadata: Any) -> None:
        metadata.state_dict_metadata["w"].size = torch.Size((6, 7))

    _edit(directory, edit)


def _elsewhere(name: str) -> Callable[[Path], None]:
    def edit(metadata: Any) -> None:
        for info in metadata.storage_data.values():
            info.relative_path = name

    return lambda directory: _edit(directory, edit)


def _compressed(metadata: Any) -> None:
    for info in metadata.storage_data.values():
        info.transform_descriptors = ["zstd"]


def _of_another_type(metadata: Any) -> None:
    metadata.state_dict_metadata["w"].properties.dtype = torch.int32


def _shifted(metadata: Any) -> None:
    for info in metadata.storage_data.values():
        info.offset, info.length = info.offset + 8, info.length - 8


def _nowhere(metadata: Any) -> None:
    metadata.storage_data = {}


def _truncate(directory: Path) -> None:
    path = directory / "__0_0.distcp"
    path.write_bytes(path.read_bytes()[:-1])


def _other_archive(directory: Path) -> None:
    path = directory / "__0_0.distcp"
    torch.save({"w": _MATRIX}, path)
    size = path.stat().st_size

    def edit(metadata: Any) -> None:
        for info in metadata.storage_data.values():
            info.length = size

    _edit(directory, edit)


_DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "hole": (_grow, "has the wrong size"),
    "hole between": (
        _with_chunks(((0, 0), (5, 7)), ((6, 0), (5, 7))),
        "do not make up a tensor|are missing",
    ),
    "overlap": (_with_chunks(((0, 0), (5, 7)), ((1, 0), (5, 7))), "overlap"),
    "other dimensions": (_with_chunks(((0,), (35,))), "belongs to another checkpoint"),
    "not a number": (_with_chunks(((-1, 0), (5, 7))), "no whole numbers"),
    "no file": (
        lambda directory: (directory / "__0_0.distcp").rename(directory / "x.distcp"),
        "does not exist",
    ),
    "outside": (_elsewhere("../__0_0.distcp"), "not the name of a file beside it"),
    "compressed": (lambda directory: _edit(directory, _compressed), "is compressed"),
    "other type": (lambda directory: _edit(directory, _of_another_type), "belongs to another"),
    "shifted": (lambda directory: _edit(directory, _shifted), "not a PyTorch checkpoint"),
    "nowhere": (lambda directory: _edit(directory, _nowhere), "is in no file"),
    "truncated": (_truncate, "is truncated"),
    "no tensor": (_other_archive, "no tensor"),
    "cut metadata": (
        lambda directory: (directory / ".metadata").write_bytes(
            (directory / ".metadata").read_bytes()[:-20]
        ),
        "is damaged",
    ),
    "other metadata": (
        lambda directory: (directory / ".metadata").write_bytes(pickle.dumps({"w": 1})),
        "not the metadata of a checkpoint",
    ),
}


@pytest.mark.parametrize("name", _DAMAGES)
def test_damaged_checkpoints(name: str, checkpoint: Path) -> None:
    damage, expected = _DAMAGES[name]
    damage(checkpoint)
    with pytest.raises(SourceError, match=expected):
        _read(checkpoint)


class _Call:
    """An object whose pickle calls a function."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self._call


@pytest.mark.parametrize("function", ["system", "eval", "getattr", "open"])
def test_metadata_runs_nothing(function: str, checkpoint: Path, tmp_path: Path) -> None:
    import builtins
    import os

    mark = tmp_path / "mark"
    calls = {
        "system": _Call(os.system, f"touch {mark}"),
        "eval": _Call(builtins.eval, f"open({str(mark)!r}, 'w')"),
        "getattr": _Call(getattr, str, "upper"),
        "open": _Call(builtins.open, str(mark), "w"),
    }
    _edit(checkpoint, lambda metadata: setattr(metadata, "planner_data", calls[function]))
    with pytest.raises(SourceError, match="was not read: it names"):
        _read(checkpoint)
    assert not mark.exists()


def test_metadata_changes_no_class(checkpoint: Path) -> None:
    """A pickle can set attributes of what it names."""
    from torch.distributed.checkpoint.metadata import Metadata

    head = b"\x80\x02ctorch.distributed.checkpoint.metadata\nMetadata\n"
    (checkpoint / ".metadata").write_bytes(head + b"N}X\x05\x00\x00\x00spoilK\x01s\x86b.")
    with pytest.raises(SourceError, match="damaged"):
        _read(checkpoint)
    assert not hasattr(Metadata, "spoil")


def test_metadata_takes_no_memory_for_a_far_place_in_its_memo(checkpoint: Path) -> None:
    """``LONG_BINPUT`` names a place; Python's own unpickler in C makes a table up to there."""
    content = (checkpoint / ".metadata").read_bytes()
    (checkpoint / ".metadata").write_bytes(content[:-1] + b"Nr\xff\xff\xff\x7f0.")
    _assert_is(checkpoint, {"w": _MATRIX})
