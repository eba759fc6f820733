"""Where the tensors of a PyTorch ``.bin`` file lie.

The file is an uncompressed zip archive: a pickle that describes the tensors, and one
entry with the bytes of each storage.
"""

import pickle
from pathlib import Path

from forgather_convert.errors import SourceError
from forgather_convert.tensors.dtypes import dtype_size, from_torch
from forgather_convert.weights.tensor_ref import TensorRef


def read_tensor_refs(path: Path) -> tuple[TensorRef, ...]:
    """Lists the tensors of a file, without reading their bytes.

    The pickle is read by torch's restricted unpickler, which runs nothing that the
    file brings.

    Raises:
        SourceError: The file is damaged, is in the format of torch before 1.6, or holds
            anything but a dictionary of tensors.
    """
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    size = path.stat().st_size
    try:
        # In this mode torch builds the tensors without their bytes, and notes in the
        # storages where in the file the bytes are (torch.load's documentation).
        with FakeTensorMode():
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise SourceError(
            f"{path} is not a plain dictionary of tensors and was not opened: its pickle asks for "
            "code to be run, or is damaged. Convert it to safetensors where you trust it."
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SourceError(
            f"{path} is truncated or not a PyTorch checkpoint ({reason}). Download it again."
        ) from error

    if not isinstance(content, dict) or not content:
        raise SourceError(f"{path} does not hold a dictionary of tensors.")
    refs = []
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise SourceError(
                f"{path} holds {type(tensor).__name__} {name!r} beside tensors. A checkpoint "
                "that also has optimizer state or nested parts is not a model's weights."
            )
        storage = tensor.untyped_storage()
        start = getattr(storage, "_checkpoint_offset", None)
        if start is None:
            raise SourceError(
                f"{path} is in the format of torch before 1.6, which cannot be read in parts. "
                "Load it once with torch and save it again."
            )
        dtype = from_torch(tensor.dtype)
        if start + storage.nbytes() > size:
            raise SourceError(f"{path} is truncated: '{name}' would lie behind its end.")
        refs.append(
            TensorRef(
                name=name,
                dtype=dtype,
                shape=tuple(tensor.shape),
                file=path,
                offset=start + tensor.storage_offset() * dtype_size(dtype),
                stride=None if tensor.is_contiguous() else tuple(tensor.stride()),
            )
        )
    return tuple(refs)
