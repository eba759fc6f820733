"""What is read of pickled checkpoints is what torch loads without running anything, or refused."""

import io
import pickle
import shutil
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from forgather_convert.tensors.tensor_ref import TensorRef
from forgather_convert.weights.formats import open_core_weights
from forgather_convert.weights.mapped_file import TensorReader
from forgather_convert.weights.pytorch_file import read_tensor_refs
from support.fuzzing import changed_bytes, copied, outcome, refusal_of, times
from support.models import write_hf_model
from support.pickle_mutations import changed_archives, changed_pickles
from support.sharded_checkpoints import save_alone
from support.variants import variant
from support.zip_files import repack

pytestmark = [
    pytest.mark.version_independent,
    # Python warns of two entries with one name, torch of storages.
    pytest.mark.filterwarnings("ignore"),
]

_VALUES = torch.arange(24.0).reshape(4, 6)
_MANY = 100_000


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with views of a storage and a parameter. Not to be changed."""
    path = tmp_path_factory.mktemp("saved") / "a.bin"
    state = {
        "whole": _VALUES,
        "view": _VALUES[1:3, ::2],
        "turned": _VALUES.t(),
        "half": torch.ones(3, dtype=torch.bfloat16),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "empty": torch.empty(0, 3),
    }
    torch.save(state, path)
    return path


def assert_read_as_torch_does(path: Path) -> None:
    refs: list[TensorRef] = []
    if refusal_of(lambda: refs.extend(read_tensor_refs(path)), path.parent) is not None:
        return
    try:
        expected = torch.load(path, map_location="cpu", weights_only=True)
    except RuntimeError as error:
        # The one difference: a view needs all of a storage that is said to be smaller.
        if "does not match expected size" in str(error):
            return
        raise
    assert [ref.name for ref in refs] == list(expected)
    with TensorReader() as reader:
        for ref in refs:
            found, value = reader.read(ref), expected[ref.name]
            assert (found.dtype, found.shape) == (value.dtype, value.shape)
            # A view of few bytes can have any number of elements.
            assert value.numel() > _MANY or torch.equal(bits(found), bits(value)), ref.name


def bits(tensor: torch.Tensor) -> torch.Tensor:
    plain = tensor.detach().reshape(-1).clone(memory_format=torch.contiguous_format)
    return plain.view(torch.uint8)


@times(5, few=4)
@given(data=st.data())
def test_pickles(data: st.DataObject, saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    shutil.copyfile(saved, path)
    with zipfile.ZipFile(saved) as archive:
        pickled = archive.read(archive.namelist()[0])
    repack(path, {"data.pkl": data.draw(changed_pickles(pickled))})
    assert_read_as_torch_does(path)


@times(5, few=4)
@given(data=st.data())
def test_records(data: st.DataObject, saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(data.draw(changed_archives(saved.read_bytes())))
    assert_read_as_torch_does(path)


class Described:
    """A tensor as a pickle may describe it, whether there can be one or not."""

    def __init__(self, storage: "Storage", offset: int, size: Any, stride: Any) -> None:
        self._arguments: tuple[Any, ...] = (storage, offset, size, stride, False, OrderedDict())

    def __reduce__(self) -> tuple[Any, ...]:
        return torch._utils._rebuild_tensor_v2, self._arguments


class Storage:
    """A storage as a pickle may describe it."""

    def __init__(self, *description: Any) -> None:
        self.description = description


class Pickler(pickle.Pickler):
    """Writes what is described."""

    def persistent_id(self, obj: Any) -> Any:
        return ("storage", *obj.description) if isinstance(obj, Storage) else None


NUMBERS = st.one_of(st.integers(-2, 30), st.sampled_from([2**31, 2**62, 2**63, -(2**63), 2**70]))
SIZES = st.lists(NUMBERS, max_size=3).map(tuple)
STORAGES = st.builds(
    Storage,
    st.sampled_from([torch.FloatStorage, torch.BFloat16Storage, torch.ByteStorage]),
    st.sampled_from(["0", "1", "2", "../0", ""]),
    st.sampled_from(["cpu", "cpu", "cuda:0", "meta", "a"]),
    st.one_of(st.just(24), NUMBERS),
)


@st.composite
def described(draw: st.DrawFn) -> Described:
    size = draw(st.one_of(st.lists(st.integers(0, 5), max_size=3).map(tuple), SIZES))
    strides = st.lists(st.integers(0, 8), min_size=len(size), max_size=len(size)).map(tuple)
    return Described(
        draw(STORAGES),
        draw(st.one_of(st.integers(0, 5), NUMBERS)),
        size,
        draw(st.one_of(strides, strides, SIZES)),
    )


@times(5, few=4)
@given(data=st.data())
def test_storages(data: st.DataObject, saved: Path, tmp_path: Path) -> None:
    names = st.sampled_from(["a", "b", "", "../a", "\x1b[31m"])
    state = data.draw(st.dictionaries(names, described(), min_size=1, max_size=2))
    pickled = io.BytesIO()
    Pickler(pickled, protocol=2).dump(state)
    path = tmp_path / "a.bin"
    shutil.copyfile(saved, path)
    repack(path, {"data.pkl": pickled.getvalue()})
    assert_read_as_torch_does(path)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pytorch") / "model"
    return write_hf_model(directory, variant("llama-yarn"), weights_format="pytorch")


@times(1, few=0.5)
@given(data=st.data(), by_command=st.booleans())
def test_a_model(data: st.DataObject, by_command: bool, model: Path, tmp_path: Path) -> None:
    with copied(model, tmp_path) as source:
        path = source / "pytorch_model.bin"
        path.write_bytes(data.draw(changed_bytes(path.read_bytes())))
        outcome(source, by_command, logit_check=False)


@pytest.fixture(scope="module")
def distributed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A distributed checkpoint. Not to be changed."""
    directory = tmp_path_factory.mktemp("distributed") / "checkpoint"
    save_alone(directory, {"a": _VALUES, "b": torch.ones(3, dtype=torch.bfloat16)})
    return directory


@times(5, few=4)
@given(data=st.data())
def test_metadata_of_a_distributed_checkpoint(
    data: st.DataObject, distributed: Path, tmp_path: Path
) -> None:
    original = (distributed / ".metadata").read_bytes()
    shutil.copytree(distributed, tmp_path, dirs_exist_ok=True)
    changed = data.draw(st.one_of(changed_pickles(original), changed_bytes(original)))
    (tmp_path / ".metadata").write_bytes(changed)

    def read_checkpoint() -> None:
        checkpoint = open_core_weights(tmp_path)
        assert checkpoint is not None
        # Whatever it is, it is what lies in the files.
        assert all(ref.file.parent == tmp_path for ref in checkpoint.tensors.values())

    refusal_of(read_checkpoint, tmp_path)
