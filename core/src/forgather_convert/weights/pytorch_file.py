"""Locates the tensors of a PyTorch ``.bin`` file."""

from pathlib import Path

from forgather_convert.errors import SourceError
from forgather_convert.files.file_errors import with_filename
from forgather_convert.tensors.tensor_ref import TensorRef
from forgather_convert.weights.torch_archive import describe, locate, open_archive


def read_tensor_refs(path: Path) -> tuple[TensorRef, ...]:
    """Lists the tensors of a file, without reading their bytes.

    The pickle is read by torch's restricted unpickler, which runs no code from the file.

    Raises:
        SourceError: The file is damaged or compressed, was not written by ``torch.save`` of
            version 1.6 or later on a little-endian machine, or contains anything but a dictionary
            of plain tensors.
    """
    import torch

    with with_filename(path), path.open("rb") as file:
        archive = open_archive(path, file)
    content = describe(path, archive)
    if not isinstance(content, dict) or not content:
        raise SourceError(
            f"{path} does not contain a dictionary of tensors. Save the model's state_dict()."
        )
    refs = []
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            # A key may be of any type; to describe it could be long, or fail.
            key = repr(name) if isinstance(name, str) else f"under a key of {type(name).__name__}"
            raise SourceError(
                f"{path} contains {type(tensor).__name__} {key} besides tensors. A checkpoint "
                "with optimizer state or nested parts is not a model's weights."
            )
        refs.append(locate(path, name, tensor, archive))
    return tuple(refs)
