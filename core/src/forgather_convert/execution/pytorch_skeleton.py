"""The file that ``torch.save`` would write for the tensors of a plan, without their bytes."""

from collections.abc import Mapping
from pathlib import Path

from forgather_convert.files.file_errors import with_filename
from forgather_convert.planning.plan import ShardPlan
from forgather_convert.tensors.dtypes import to_torch
from forgather_convert.weights.zip_archive import read_zip_entries

#: Where the bytes of the n-th tensor are in the archive, after the name of its folder.
_STORAGE = "archive/data/{}"


def write_pytorch_skeleton(shard: ShardPlan, path: Path) -> Mapping[str, int]:
    """Writes a ``.bin`` file that has holes where its tensors belong.

    The file has its full size, and takes room on the disk only for what is not a hole. Its
    checksums are those of nothing: :func:`write_checksums` has to follow when it is filled.

    Args:
        shard: The file's tensors.
        path: Where to write it; there is no such file.

    Returns:
        Where in the file the bytes of each tensor begin, by its name.

    Raises:
        OSError: It cannot be written.
    """
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        state = {
            tensor.name: torch.empty(tensor.shape, dtype=to_torch(tensor.dtype))
            for tensor in shard.tensors
        }
        state.update((second, state[first]) for second, first in shard.shared.items())
    with with_filename(path), path.open("xb") as file:
        try:
            with torch.serialization.skip_data(materialize_fake_tensors=True):
                torch.save(state, file)
        except RuntimeError as error:
            # torch still ends the archive when writing it failed, and hides why by failing again.
            if error.__context__ is None:
                raise
            raise error.__context__ from None
    with with_filename(path), path.open("rb") as file:
        entries = read_zip_entries(file)
    return {
        tensor.name: entries[_STORAGE.format(number)].start
        for number, tensor in enumerate(shard.tensors)
    }
