"""Writes weights files with several threads, and can start before all of them are known."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType

from forgather_convert.execution.deferred_signals import deferred_signals
from forgather_convert.execution.flush import flush
from forgather_convert.execution.shard_parts import ShardPart, complete_shard, create_shard
from forgather_convert.files.file_errors import with_filename
from forgather_convert.planning.plan import ShardPlan
from forgather_convert.progress import Advance
from forgather_convert.tensors.byte_ranges import byte_ranges

#: More threads do not write faster, and each of them needs memory.
_MAX_THREADS = 4
#: How often progress is reported, in seconds.
_INTERVAL = 0.1


class WeightsWriter:
    """Writes weights files into a directory. A context manager: no thread outlives it.

    Args:
        directory: The directory, which exists.

    Attributes:
        head_start: For how many seconds files that were kept had been written in the background
            when :meth:`finish` was called.
    """

    def __init__(self, directory: Path) -> None:
        self.head_start = 0.0
        self._directory = directory
        self._work = _Work(directory)

    def begin(self, shards: Iterable[ShardPlan]) -> None:
        """Starts writing files in the background, and returns at once."""
        for shard in shards:
            self._work.add(shard)

    def finish(self, shards: Iterable[ShardPlan], progress: Advance) -> None:
        """Writes all files; those already started are kept if they are among them.

        Args:
            shards: All weights files of the result.
            progress: Called with the number of bytes written since the last call. If it raises,
                writing stops.

        Raises:
            SourceError: A source file is shorter than its header says.
            OSError: A file cannot be read or written.
        """
        shards = tuple(shards)
        if not all(begun in shards for begun in self._work.shards):
            self._work.discard()
            self._work = _Work(self._directory)
        self.head_start = self._work.seconds()
        self.begin([shard for shard in shards if shard not in self._work.shards])
        with _operations_on_one_thread(shards):
            self._work.wait(progress)

    def __enter__(self) -> "WeightsWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._work.stop()


class _StoppedError(Exception):
    """Writing was cancelled."""


class _Work:
    """Files being written in the background.

    Each is flushed to the disk as soon as it is complete.
    """

    def __init__(self, directory: Path) -> None:
        self.shards: list[ShardPlan] = []
        self._directory = directory
        self._pool = ThreadPoolExecutor(_num_threads(), thread_name_prefix="weights")
        self._lock = threading.Lock()
        self._futures: list[Future[None]] = []
        self._written = 0
        self._num_complete = 0
        self._started = self._last_complete = 0.0
        self._is_stopped = False

    def add(self, shard: ShardPlan) -> None:
        if not self.shards:
            self._started = time.monotonic()
        self.shards.append(shard)
        self._submit(partial(self._create, shard))

    def wait(self, progress: Advance) -> None:
        """Waits until everything is written, and reports the bytes meanwhile."""
        told = 0
        is_done = False
        while not is_done:
            with self._lock:
                futures = [*self._futures]
            done, pending = wait(futures, _INTERVAL, FIRST_EXCEPTION)
            for future in done:
                future.result()
            with self._lock:
                is_done = not pending and len(self._futures) == len(futures)
                count = self._written - told
            told += count
            progress(count)

    def seconds(self) -> float:
        """How long files have been written, until now or until the last one was complete."""
        if not self.shards:
            return 0.0
        with self._lock:
            is_complete = self._num_complete == len(self.shards)
            return (self._last_complete if is_complete else time.monotonic()) - self._started

    def discard(self) -> None:
        """Removes what was written."""
        self.stop()
        for shard in self.shards:
            (self._directory / shard.file_name).unlink(missing_ok=True)

    def stop(self) -> None:
        """Cancels what has not started, and waits for the rest, which does not take long."""
        # A thread still running would write into a directory that is being removed.
        with deferred_signals():
            self._is_stopped = True
            self._pool.shutdown(cancel_futures=True)

    def _submit(self, task: Callable[[], None]) -> None:
        with self._lock:
            self._futures.append(self._pool.submit(task))

    def _create(self, shard: ShardPlan) -> None:
        path = self._directory / shard.file_name
        parts = create_shard(shard, path)
        self._count(shard.num_bytes - sum(part.num_bytes for part in parts))
        if not parts:
            self._complete(shard)
        unfinished = len(parts)

        def write(part: ShardPart) -> None:
            nonlocal unfinished
            with with_filename(path), path.open("r+b", buffering=0) as file:
                part.write(file, self._count)
            with self._lock:
                unfinished -= 1
                is_complete = unfinished == 0
            if is_complete:
                self._complete(shard)

        for part in parts:
            self._submit(partial(write, part))

    def _complete(self, shard: ShardPlan) -> None:
        path = self._directory / shard.file_name
        complete_shard(shard, path, self._count)
        flush(path)
        with self._lock:
            self._num_complete += 1
            self._last_complete = time.monotonic()

    def _count(self, count: int) -> None:
        if self._is_stopped:
            raise _StoppedError
        with self._lock:
            self._written += count


@contextmanager
def _operations_on_one_thread(shards: Iterable[ShardPlan]) -> Iterator[None]:
    """Keeps torch from starting threads of its own inside each writing thread."""
    tensors = (tensor for shard in shards for tensor in shard.tensors)
    if all(byte_ranges(tensor.expression) is not None for tensor in tensors):
        # Nothing is computed, so torch need not be imported.
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _num_threads() -> int:
    return min(_MAX_THREADS, os.cpu_count() or 1)
