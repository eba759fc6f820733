"""Conversions in which something goes wrong at one operation on files."""

import json
import os
import pickle
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from forgather_convert import ConvertOptions
from forgather_convert.api import plan
from support.file_operations import Operation


@dataclass(frozen=True)
class Fault:
    """What goes wrong.

    Attributes:
        operation: Before which operation; ``None``: nothing goes wrong.
        signal: What the process gets then.
        error: With which number the operation fails.
        lasts: Whether all later ones of its kind fail, too: those that change something, or all
            if it changes nothing.
        cuts: A file that is made shorter then.
        rival: Whether another conversion to the same destination runs then, from its beginning
            to its end.
        lacks_renameat2: Whether the system has no ``renameat2``.
    """

    operation: Operation | None = None
    signal: int | None = None
    error: int | None = None
    lasts: bool = False
    cuts: str | None = None
    rival: bool = False
    lacks_renameat2: bool = False

    def before(self, operation: Operation) -> "Fault":
        """The same before an operation."""
        return replace(self, operation=operation)


@dataclass(frozen=True)
class Ended:
    """How a conversion ended.

    Attributes:
        code: Its exit code; the negative number of the signal that killed it.
        errors: What it printed on stderr.
        operations: What it did to files, in order; empty if it was killed.
        happened: Whether the fault did.
        rival: How the other conversion ended.
    """

    code: int
    errors: str
    operations: tuple[Operation, ...] = ()
    happened: bool = True
    rival: "Ended | None" = None


@dataclass(frozen=True)
class PlannedCommand:
    """A conversion that is planned once, by the real planner, and run as often as wanted.

    Attributes:
        arguments: The command's.
        plan: The file of its plan.
        root: Operations on what is not in this directory do not count.
    """

    arguments: tuple[str, ...]
    plan: str
    root: str


def planned_command(
    source: Path,
    destination: Path,
    *arguments: str | Path,
    root: Path,
    plan_file: Path,
    **options: Any,
) -> PlannedCommand:
    """Plans a conversion.

    Args:
        source: The model.
        destination: Its place.
        arguments: Of the command line, and the same as ``options``: only those matter here that
            are used when the plan is carried out.
        root: Operations on what is not in this directory do not count.
        plan_file: Where the plan is written.
        options: Fields of ``ConvertOptions``.
    """
    planned = plan(source, destination, ConvertOptions(logit_check=False, **options))
    plan_file.write_bytes(pickle.dumps(planned))
    command = ("--no-logit-check", *map(str, (*arguments, source, destination)))
    return PlannedCommand(command, str(plan_file), str(root))


class Conversions:
    """A process that runs planned conversions. Used as a context.

    It has neither torch nor transformers until a conversion needs them, so that a copy of it is
    made in a millisecond.
    """

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            SERVER_COMMAND,
            env=server_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def warm_up(self, command: PlannedCommand) -> None:
        """Runs a conversion once in the process itself, which imports what it needs."""
        ended = self._ask(warm_up_line(command))
        assert ended.code == 0, ended.errors

    def run(
        self, command: PlannedCommand, fault: Fault, rival: PlannedCommand | None = None
    ) -> Ended:
        """Runs a conversion in a copy, from its staging directory to its end.

        Args:
            command: The conversion.
            fault: What goes wrong.
            rival: The other conversion, if there is one.
        """
        other = None if rival is None else asdict(rival)
        request = {"command": asdict(command), "fault": asdict(fault), "rival": other}
        return self._ask(json.dumps(request))

    def __enter__(self) -> "Conversions":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.kill()
        self._server.communicate()

    def _ask(self, line: str) -> Ended:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(line + "\n")
        self._server.stdin.flush()
        return ended_of(self._server.stdout.readline())


#: Starts the process.
SERVER_COMMAND = [sys.executable, "-m", "support.fault_server"]


def warm_up_line(command: PlannedCommand) -> str:
    """What the process reads to run a conversion itself."""
    return json.dumps({"command": asdict(command)})


def server_environment() -> dict[str, str]:
    """The environment of a process that imports what supports the tests."""
    tests = str(Path(__file__).parents[1])
    paths = os.pathsep.join([tests, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": paths}


def ended_of(line: str) -> Ended:
    """What the process says of a conversion."""
    content = json.loads(line)
    rival = content.get("rival")
    return Ended(
        code=content["code"],
        errors=content["errors"],
        operations=tuple(Operation(**operation) for operation in content["operations"]),
        happened=content["happened"],
        rival=None if rival is None else ended_of(json.dumps(rival)),
    )
