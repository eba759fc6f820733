"""Several processes, started by torchrun, that write the weights files of one conversion.

The first process plans, checks and commits; all of them write weights files. A thread of each
process exchanges status reports with the others in rounds, as long as the process lives: if one
fails, all learn of it in the next round, and if one is lost, the round fails. No process waits for
another longer than a round may take.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum
from pathlib import Path
from types import TracebackType

from forgather_convert.errors import DestinationError, ForgatherConvertError, ProcessError, cause_of
from forgather_convert.execution.destination import Destination, resolve_destination
from forgather_convert.execution.executor import write_other_files, write_shards
from forgather_convert.execution.flush import flush
from forgather_convert.execution.rank import Rank
from forgather_convert.execution.staging import staging_directory
from forgather_convert.planning.plan import ConversionPlan, ShardPlan
from forgather_convert.progress import Advance

#: How long a process may take to start or to answer in a round, in seconds.
_TIMEOUT = 300
#: The time between two rounds, in seconds.
_INTERVAL = 0.2
#: How long a lost process may go on writing, in seconds.
_GRACE = 2.0


class _Phase(Enum):
    WAITING = "waiting"
    #: The first process has the shares of all others.
    PLANNED = "planned"
    WRITING = "writing"
    WRITTEN = "written"
    DONE = "done"
    #: It has stopped writing, because it or another one failed.
    STOPPED = "stopped"


@dataclass(frozen=True)
class _Report:
    """The status of a process in a round.

    Attributes:
        phase: How far it is.
        written: How many bytes it has written.
        error: Why it failed.
    """

    phase: _Phase = _Phase.WAITING
    written: int = 0
    error: str | None = None


@dataclass(frozen=True)
class _Share:
    """The part of a conversion that one process writes.

    Attributes:
        working_directory: The first process's; the source's paths are relative to it.
        destination: The destination of the conversion.
        directory: The directory that the files are written to.
        shards: The files.
    """

    working_directory: Path
    destination: Destination
    directory: Path
    shards: tuple[ShardPlan, ...]


class ShardWriters:
    """The processes of one conversion, from the point of view of one. A context manager.

    Raises:
        ProcessError: The other processes did not connect.
    """

    def __init__(self, rank: Rank) -> None:
        self.rank = rank
        self._changed = threading.Condition()
        self._report = _Report()
        self._reports = [_Report()] * rank.count
        self._shares: tuple[_Share, ...] = ()
        self._share: _Share | None = None
        self._lost: str | None = None
        self._thread = threading.Thread(target=self._take_rounds, name="rounds", daemon=True)

    def __enter__(self) -> "ShardWriters":
        import torch.distributed as dist

        try:
            dist.init_process_group("gloo", timeout=timedelta(seconds=_TIMEOUT))
        except (RuntimeError, ValueError, OSError) as error:
            raise ProcessError(
                f"The {self.rank.count} processes, of which this is number {self.rank.number}, "
                f"could not connect: {error}. Start them with torchrun, or unset RANK and "
                "WORLD_SIZE to convert with one process."
            ) from error
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        import torch.distributed as dist

        if error is not None:
            self._stop(error)
        elif self.rank.number == 0:
            self._report_status(phase=_Phase.DONE)
        self._thread.join(_TIMEOUT)
        # If other processes are gone, the group cannot be shut down in order.
        with suppress(RuntimeError):
            dist.destroy_process_group()

    def execute(self, plan: ConversionPlan, directory: Path, progress: Advance) -> None:
        """Does what :func:`executor.execute` does, with all processes; called by the first.

        If it raises, all processes have stopped writing.

        Raises:
            ProcessError: Another process failed or was lost.
        """
        shown = 0

        def show() -> None:
            nonlocal shown
            others = sum(report.written for report in self._reports[1:])
            total = self._report.written + others
            progress(total - shown)
            shown = total

        try:
            destination = resolve_destination(plan.destination)
            shares = divide(plan.shards, self.rank.count)
            self._shares = tuple(
                _Share(Path.cwd(), destination, directory, shards) for shards in shares
            )
            self._report_status(phase=_Phase.PLANNED)
            self._wait(lambda: self._share is not None)
            self._write(shares[0], directory, show)
            self._wait(self._have_all_written, show)
            _check_files(plan, directory)
            write_other_files(plan, directory, progress)
        except BaseException as error:
            self._stop(error)
            self._wait_for_the_end_of_writing()
            raise

    def run_worker(self) -> None:
        """Writes the files assigned to this process, and waits for the conversion to end.

        Changes to the first process's working directory. If the first process is lost, what it
        left is removed.

        Raises:
            ProcessError: Another process failed or was lost.
            ForgatherConvertError: This process failed; the first one reports it.
        """
        self._wait(lambda: self._share is not None or self._is_done())
        share = self._share
        if share is None:
            return
        os.chdir(share.working_directory)
        if not share.directory.is_dir():
            raise DestinationError(
                f"{share.directory} does not exist on this host. The destination must be on a "
                "file system that all hosts share, under the same path."
            )
        try:
            self._write(share.shards, share.directory, lambda: None)
            self._wait(self._is_done)
        except BaseException as error:
            self._stop(error)
            self._wait_for_the_end_of_writing()
            if self._lost is not None:
                # If the first process is still alive, it holds the directory's lock.
                with suppress(DestinationError), staging_directory(share.destination):
                    pass
            raise

    def _write(
        self, shards: tuple[ShardPlan, ...], directory: Path, show: Callable[[], None]
    ) -> None:
        def count(size: int) -> None:
            self._raise_if_failed()
            self._report_status(written=self._report.written + size)
            show()

        self._report_status(phase=_Phase.WRITING)
        write_shards(shards, directory, count)
        # The first process cannot do it: the bytes may still be in this host's memory.
        for shard in shards:
            flush(directory / shard.file_name)
        self._report_status(phase=_Phase.WRITTEN)

    def _have_all_written(self) -> bool:
        return all(report.phase is _Phase.WRITTEN for report in self._reports)

    def _is_done(self) -> bool:
        return self._reports[0].phase is _Phase.DONE

    def _report_status(
        self, phase: _Phase | None = None, written: int | None = None, error: str | None = None
    ) -> None:
        with self._changed:
            report = self._report
            self._report = replace(
                report,
                phase=phase or report.phase,
                written=report.written if written is None else written,
                error=error or report.error,
            )

    def _stop(self, error: BaseException) -> None:
        # A failure reported by another process is not this one's.
        text = None if isinstance(error, ProcessError) else _describe(error)
        self._report_status(phase=_Phase.STOPPED, error=text)

    def _wait(self, condition: Callable[[], bool], show: Callable[[], None] | None = None) -> None:
        while not condition():
            self._raise_if_failed()
            with self._changed:
                self._changed.wait(_INTERVAL)
            if show is not None:
                show()

    def _wait_for_the_end_of_writing(self) -> None:
        self._thread.join(_TIMEOUT)
        if self._lost is not None:
            time.sleep(_GRACE)

    def _raise_if_failed(self) -> None:
        for number, report in enumerate(self._reports):
            if report.error is not None and number != self.rank.number:
                raise ProcessError(f"Process {number} of {self.rank.count} failed. {report.error}")
        if self._lost is not None:
            raise ProcessError(
                f"One of {self.rank.count} processes was lost: {self._lost}. torchrun's output "
                "may say why. Nothing was written."
            )
        if any(report.phase is _Phase.STOPPED for report in self._reports):
            raise ProcessError("Another process has stopped. Nothing was written.")

    def _take_rounds(self) -> None:
        try:
            while self._take_round():
                time.sleep(_INTERVAL)
        # The connection may raise anything.
        except Exception as error:
            self._lost = " ".join(str(error).split())
        with self._changed:
            self._changed.notify_all()

    def _take_round(self) -> bool:
        """Exchanges status reports; returns whether there will be another round."""
        import torch.distributed as dist

        gathered: list[_Report | None] = [None] * self.rank.count
        dist.all_gather_object(gathered, self._report)
        reports = [report for report in gathered if report is not None]
        if reports[0].phase is _Phase.PLANNED and self._share is None:
            share: list[_Share | None] = [None]
            dist.scatter_object_list(share, list(self._shares) or None, src=0)
            self._share = share[0]
        with self._changed:
            self._reports = reports
            self._changed.notify_all()
        phases = {report.phase for report in reports}
        return phases != {_Phase.STOPPED} and reports[0].phase is not _Phase.DONE


def _check_files(plan: ConversionPlan, directory: Path) -> None:
    """Refuses files that another process wrote to a different file system.

    Raises:
        DestinationError: A file is missing or does not have its planned size.
    """
    for shard in plan.shards:
        path = directory / shard.file_name
        size = path.stat().st_size if path.exists() else -1
        if size < 0 or (shard.header is not None and size != shard.num_bytes):
            raise DestinationError(
                f"{path} was written by another process but does not exist on this host. The "
                "destination must be on a file system that all hosts share, under the same path."
            )


def _describe(error: BaseException) -> str:
    if isinstance(error, ForgatherConvertError):
        return str(error)
    if isinstance(error, OSError):
        prefix = f"{error.filename}: " if error.filename else ""
        return f"{prefix}{error.strerror or error}."
    if isinstance(error, Exception):
        return f"{cause_of(error)}."
    return "It was stopped."


def divide(shards: Iterable[ShardPlan], count: int) -> tuple[tuple[ShardPlan, ...], ...]:
    """Divides weights files among processes: largest first, each to the least loaded process."""
    shares: list[list[ShardPlan]] = [[] for _ in range(count)]
    sizes = [0] * count
    for shard in sorted(shards, key=lambda shard: -shard.num_bytes):
        least = sizes.index(min(sizes))
        shares[least].append(shard)
        sizes[least] += shard.num_bytes
    return tuple(map(tuple, shares))
