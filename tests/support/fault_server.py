"""Runs planned conversions, each in a copy of this process."""

import gc
import json
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from forgather_convert import api
from forgather_convert.conversion.conversion import Checks
from forgather_convert.execution.staging import staging_directory
from forgather_convert.tensors.byte_ranges import byte_ranges
from support.command import forgather
from support.faults import Fault, PlannedCommand
from support.file_operations import FileOperations, Operation

#: How long a conversion may take, in seconds.
_LIMIT = 120


class _Interference:
    """Lets a fault happen.

    Args:
        fault: The fault.
        run_rival: Runs the other conversion.
    """

    def __init__(self, fault: Fault, run_rival: Callable[[], None]) -> None:
        self._fault = fault
        self._run_rival = run_rival
        self.has_happened = False

    def before(self, operation: Operation) -> None:
        """Is called before each operation."""
        fault = self._fault
        if fault.operation is None:
            return
        if self.has_happened:
            if fault.lasts and (fault.operation.is_reading or not operation.is_reading):
                self._fail()
            return
        if operation != fault.operation:
            return
        self.has_happened = True
        if fault.cuts is not None:
            os.truncate(fault.cuts, Path(fault.cuts).stat().st_size - 8)
        if fault.rival:
            self._run_rival()
        if fault.signal is not None:
            os.kill(os.getpid(), fault.signal)
        if fault.error is not None:
            self._fail()

    def _fail(self) -> None:
        number = self._fault.error or 0
        raise OSError(number, os.strerror(number))


@cache
def _plan(file: str) -> Any:
    return pickle.loads(Path(file).read_bytes())


def _use(plan: Any) -> None:
    """Lets a conversion take a plan that was made before."""
    # What is not only copied is not written before it is planned.
    is_copied = all(byte_ranges(tensor.expression) is not None for tensor in plan.tensors)
    shards = plan.shards if is_copied and all(shard.header for shard in plan.shards) else ()
    # The models are not there, and what is compared is no matter of files.
    planned = SimpleNamespace(plan=plan, check=lambda *_: Checks())
    conversion = SimpleNamespace(
        title="Converting",
        early_shards=lambda: shards,
        plan=lambda: planned,
        extension_calls=SimpleNamespace(conversion_finished=lambda result: None),
    )
    api.open_conversion = lambda _: conversion  # type: ignore


def _run(command: PlannedCommand, fault: Fault, run_rival: Callable[[], None]) -> dict[str, Any]:
    """Runs a conversion in this process; what it does counts from its staging directory on."""
    _use(_plan(command.plan))
    interference = _Interference(fault, run_rival)
    # Flushing takes its time, and what comes of it is seen only after a power failure.
    os.fsync = os.fdatasync = lambda fd: None
    watch = FileOperations(Path(command.root), interference.before, fault.lacks_renameat2)

    def watch_and_stage(destination: Any) -> Any:
        watch.__enter__()
        return staging_directory(destination)

    api.staging_directory = watch_and_stage  # type: ignore[attr-defined]
    ended = forgather("convert", *command.arguments)
    watch.__exit__()
    return {
        "code": ended.returncode,
        "errors": ended.stderr,
        "operations": [vars(operation) for operation in watch.operations],
        "happened": fault.operation is None or interference.has_happened,
    }


def _run_in_copy(
    command: PlannedCommand, fault: Fault, rival: PlannedCommand | None
) -> dict[str, Any]:
    """Runs a conversion in a copy of this process, and beside it, when it says so, another."""
    # A line of what the copy says: that the other conversion has to run, or how it has ended.
    said, say = os.pipe()
    heard, answer = os.pipe()
    child = os.fork()
    if child == 0:
        # A collection would copy all memory.
        gc.disable()
        signal.alarm(_LIMIT)
        os.close(said)
        os.close(answer)

        def run_rival() -> None:
            os.write(say, b"rival\n")
            os.read(heard, 1)

        try:
            ended = _run(command, fault, run_rival)
            with os.fdopen(say, "w") as stream:
                json.dump(ended, stream)
            os._exit(0)
        finally:
            # The copy never gets to the process's own lines.
            traceback.print_exc()
            os._exit(70)
    os.close(say)
    os.close(heard)
    rival_ended = None
    with os.fdopen(said) as stream:
        line = stream.readline()
        if line == "rival\n" and rival is not None:
            rival_ended = _run_in_copy(rival, Fault(lacks_renameat2=fault.lacks_renameat2), None)
            os.write(answer, b"1")
            line = stream.readline()
    os.close(answer)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    killed = {"code": code, "errors": "", "operations": [], "happened": True}
    return {**(json.loads(line) if code == 0 else killed), "rival": rival_ended}


def _command(content: Any) -> PlannedCommand:
    return PlannedCommand(**content)


def _fault(content: Any) -> Fault:
    operation = content.pop("operation")
    return Fault(**content, operation=None if operation is None else Operation(**operation))


def _serve() -> None:
    """Answers each line, a conversion and a fault, with how it ended."""
    for line in sys.stdin:
        request = json.loads(line)
        command = _command(request["command"])
        # In the process, not in each copy.
        _plan(command.plan)
        if "fault" not in request:
            _use(_plan(command.plan))
            result = forgather("convert", *command.arguments)
            _say({"code": result.returncode, "errors": result.stderr})
            gc.collect()
            gc.freeze()
            continue
        rival = None if request["rival"] is None else _command(request["rival"])
        if rival is not None:
            _plan(rival.plan)
        _say(_run_in_copy(command, _fault(request["fault"]), rival))


def _say(content: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"operations": [], "happened": True, **content}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _serve()
