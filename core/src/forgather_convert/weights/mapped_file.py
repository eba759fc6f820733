"""Tensors that are memory-mapped from a file: the kernel reads pages when they are accessed."""

import mmap
import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from forgather_convert.errors import SourceError
from forgather_convert.tensors.dtypes import to_torch
from forgather_convert.tensors.tensor_ref import TensorRef

if TYPE_CHECKING:
    import torch

#: Linux reserves memory for every page of a private map that could be written to, so it refuses to
#: map a file that is larger than memory. With this flag it reserves none. Python defines its name
#: since 3.13; the number is valid on x86, ARM, RISC-V and s390.
_MAP_NORESERVE: int = getattr(mmap, "MAP_NORESERVE", 0x4000)


class TensorReader:
    """Reads the tensors of any number of files, each of which is mapped once.

    The maps are private: a write to a tensor never reaches its file. Until they are written to,
    pages belong to the page cache, not to the process, so a file may be larger than memory.
    """

    def __init__(self) -> None:
        self._maps: dict[Path, mmap.mmap] = {}

    def read(self, ref: TensorRef) -> "torch.Tensor":
        """The tensor at ``ref``, in its own dtype and shape, sharing the file's pages.

        Raises:
            SourceError: The file cannot be mapped.
        """
        import torch

        if ref.num_elements == 0:
            return torch.empty(ref.shape, dtype=to_torch(ref.dtype))
        count = ref.num_elements
        if ref.stride is not None:
            count = 1 + sum(
                (size - 1) * step for size, step in zip(ref.shape, ref.stride, strict=True)
            )
        flat = torch.frombuffer(
            self._map(ref.file), dtype=to_torch(ref.dtype), count=count, offset=ref.offset
        )
        if ref.stride is not None:
            return flat.as_strided(ref.shape, ref.stride)
        return flat.view(ref.shape)

    def _map(self, path: Path) -> mmap.mmap:
        if path not in self._maps:
            try:
                with path.open("rb") as file:
                    self._maps[path] = _private_map(file.fileno())
            except OSError as error:
                raise SourceError(
                    f"{path} cannot be mapped into memory: {error.strerror}. Raise the limit of "
                    "this process's address space (ulimit -v), and allow memory overcommitment "
                    "if it is disabled (vm.overcommit_memory=2)."
                ) from error
        return self._maps[path]

    def __enter__(self) -> "TensorReader":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._maps.clear()


def _private_map(descriptor: int) -> mmap.mmap:
    if sys.platform != "linux":
        return mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY)
    return mmap.mmap(
        descriptor,
        0,
        flags=mmap.MAP_PRIVATE | _MAP_NORESERVE,
        prot=mmap.PROT_READ | mmap.PROT_WRITE,
    )
