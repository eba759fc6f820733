"""Writes the file that ``torch.save`` would write for planned tensors, without their bytes."""

from collections.abc import Mapping
from pathlib import Path

from forgather_convert.files.file_errors import with_filename
from forgather_convert.planning.plan import ShardPlan
from forgather_convert.tensors.dtypes import to_torch
from forgather_convert.weights.zip_archive import read_zip_entries

#: The path of the n-th tensor's bytes in the archive, below its top folder.
_STORAGE = "archive/data/{}"


def write_pytorch_skeleton(shard: ShardPlan, path: Path) -> Mapping[str, int]:
    """Writes a ``.bin`` file that has holes in place of its tensors.

    The file has its full size, but holes take no space on the disk. Its checksums are wrong until
    :func:`write_checksums` is called on the filled file.

    Args:
        shard: The plan of the file.
        path: The path of the file, which does not exist.

    Returns:
        The offset of each tensor's bytes in the file, by the tensor's name.

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
            # After a failure, torch still closes the archive, which fails again and hides why.
            if error.__context__ is None:
                raise
            raise error.__context__ from None
    with with_filename(path), path.open("rb") as file:
        entries = read_zip_entries(file)
    return {
        tensor.name: entries[_STORAGE.format(number)].start
        for number, tensor in enumerate(shard.tensors)
    }
