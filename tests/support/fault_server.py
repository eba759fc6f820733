"""Runs a planned conversion again and again, each time in a copy of this process.

The process is small: it has the plan, and neither torch nor transformers, so that a copy is made
in a millisecond. What is changed is Python's access to files, not the code under test.
"""

import builtins
import errno
import io
import json
import os
import pickle
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

from forgather_convert import api
from forgather_convert.execution import atomic_rename
from forgather_convert.planning import draft
from support.command import forgather
from support.faults import Fault

#: How long a conversion may take, in seconds.
_LIMIT = 120
#: Operations that Python announces, and which of their arguments are paths.
_ANNOUNCED = {
    "open": (0,),
    "os.mkdir": (0,),
    "os.rename": (0, 1),
    "os.remove": (0,),
    "os.rmdir": (0,),
    "os.link": (0, 1),
    "os.symlink": (0, 1),
    "os.chmod": (0,),
    "os.truncate": (0,),
    "os.listdir": (0,),
    "os.scandir": (0,),
    "fcntl.flock": (0,),
}
#: Operations that it does not announce.
_OTHERS = ("stat", "lstat", "fsync", "fdatasync", "copy_file_range", "pwrite", "pread")


class _Counter:
    """Counts operations on files, and does what is to be done before one of them."""

    def __init__(self, root: str, fault: Fault) -> None:
        self._root = root
        self._fault = fault
        self._is_on = False
        self.operations: list[str] = []

    def begin(self) -> None:
        """Takes hold of Python's operations; only the end of the process lets them go."""
        sys.addaudithook(self._announced)
        for name in _OTHERS:
            setattr(os, name, self._wrapped(name, getattr(os, name)))
        # What libraries were given before stays theirs.
        io.open = builtins.open = self._opened(open)  # type: ignore[assignment]
        atomic_rename.call_renameat2 = self._renameat2(atomic_rename.call_renameat2)
        self._is_on = True

    def end(self) -> None:
        self._is_on = False

    def step(self, name: str) -> None:
        """Is called before each operation."""
        if not self._is_on:
            return
        self.operations.append(f"{name} in {_caller()}")
        if len(self.operations) - 1 != self._fault.step:
            return
        if self._fault.signal is not None:
            os.kill(os.getpid(), self._fault.signal)
        if self._fault.error is not None:
            raise OSError(self._fault.error, os.strerror(self._fault.error))

    def _counts(self, path: Any) -> bool:
        """Whether something lies in the directory; what is relative to an open one does."""
        if not isinstance(path, str | bytes | os.PathLike):
            return True
        path = os.fsdecode(path)
        return not path.startswith("/") or path.startswith(self._root)

    def _announced(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in _ANNOUNCED and all(self._counts(arguments[at]) for at in _ANNOUNCED[event]):
            self.step(event)

    def _wrapped(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if self._counts(arguments[0]):
                self.step(name)
            return function(*arguments, **options)

        return call

    def _renameat2(self, function: Callable[..., int]) -> Callable[..., int]:
        def call(source: bytes, target: bytes, flags: int) -> int:
            if self._fault.lacks_renameat2:
                return errno.ENOSYS
            try:
                self.step("renameat2")
            except OSError as error:
                return int(error.errno or 0)
            return function(source, target, flags)

        return call

    def _opened(self, function: Callable[..., Any]) -> Callable[..., Any]:
        counter = self

        class Counted(io.FileIO):
            def write(self, data: Any) -> int:
                counter.step("write")
                return super().write(data) or 0

            def close(self) -> None:
                is_last = not self.closed
                super().close()
                if is_last:
                    counter.step("close")

        def call(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            if mode in ("wb", "xb") and self._counts(file) and not arguments:
                return io.BufferedWriter(Counted(file, mode[0], **options))
            return function(file, mode, *arguments, **options)

        return call


def _caller() -> str:
    """The functions of the package that led here."""
    frame: FrameType | None = sys._getframe(1)
    names = []
    while frame is not None:
        if "forgather_convert/execution" in frame.f_code.co_filename:
            names.append(f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}")
        frame = frame.f_back
    return " < ".join(names)


def _serve(root: str, plan_file: str, arguments: list[str]) -> None:
    """Answers each line, a fault, with how the conversion ended."""
    plan = pickle.loads(Path(plan_file).read_bytes())
    hooks = SimpleNamespace(display_name=plan.model_type)
    request = SimpleNamespace(detection=plan, hooks=hooks)
    calls = SimpleNamespace(conversion_finished=lambda result: None)
    api._read = lambda *_: (request, calls)  # type: ignore[assignment, return-value]
    api._plan = lambda *_: SimpleNamespace(plan=plan)  # type: ignore[assignment, return-value]
    draft.draft_shards = lambda _: plan.shards
    staging_directory = api.staging_directory
    counter = _Counter(root, Fault())

    def count_and_stage(destination: Any) -> Any:
        counter.begin()
        return staging_directory(destination)

    # Once without a copy: imports what a conversion needs.
    _answer(forgather("convert", *arguments), counter)
    api.staging_directory = count_and_stage
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            signal.alarm(_LIMIT)
            counter = _Counter(root, Fault(**json.loads(line)))
            result = forgather("convert", *arguments)
            counter.end()
            _answer(result, counter)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.waitstatus_to_exitcode(status) != 0:
            _say({"code": os.waitstatus_to_exitcode(status), "errors": "", "operations": []})


def _answer(result: Any, counter: _Counter) -> None:
    _say({"code": result.returncode, "errors": result.stderr, "operations": counter.operations})


def _say(content: object) -> None:
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2], sys.argv[3:])
