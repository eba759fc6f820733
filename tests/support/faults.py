"""Conversions in which one operation on files fails, or before which the process is killed."""

import json
import os
import pickle
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from forgather_convert import ConvertOptions
from forgather_convert.api import plan

#: Operations that change nothing.
READING = frozenset({"stat", "lstat", "os.listdir", "os.scandir"})


@dataclass(frozen=True)
class Fault:
    """What goes wrong.

    Attributes:
        step: Before which operation, counted from 0.
        signal: What the process gets then.
        error: With which number the operation fails; not if there is a signal.
        lacks_renameat2: Whether the system has no ``renameat2``.
    """

    step: int | None = None
    signal: int | None = None
    error: int | None = None
    lacks_renameat2: bool = False


@dataclass(frozen=True)
class Ended:
    """How a conversion ended.

    Attributes:
        code: Its exit code; the negative number of the signal that killed it.
        errors: What it printed on stderr.
        operations: What it did to files, in order; empty if it was killed.
    """

    code: int
    errors: str
    operations: tuple[str, ...]


class Conversions:
    """A conversion that is planned once, by the real planner, and run as often as wanted.

    Used as a context. It runs once when the context begins.

    Args:
        source: The model.
        destination: Its place.
        options: ``--overwrite``, if there is a model, which has to be there now.
        root: Operations on what is not in this directory do not count.
        plan_file: Where the plan is written.
    """

    def __init__(
        self, source: Path, destination: Path, *options: str, root: Path, plan_file: Path
    ) -> None:
        self._server = subprocess.Popen(
            server_command(source, destination, *options, root=root, plan_file=plan_file),
            env=server_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, fault: Fault) -> Ended:
        """Runs it, from its staging directory to its end."""
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(asdict(fault)) + "\n")
        self._server.stdin.flush()
        return self._answer()

    def __enter__(self) -> "Conversions":
        first = self._answer()
        assert first.code == 0, first.errors
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.kill()
        self._server.communicate()

    def _answer(self) -> Ended:
        assert self._server.stdout is not None
        return ended_of(self._server.stdout.readline())


def server_command(
    source: Path, destination: Path, *options: str, root: Path, plan_file: Path
) -> list[str]:
    """Plans a conversion, and gives the command of a process that runs it once.

    After that it runs it for each fault that it reads.
    """
    overwrite = "--overwrite" in options
    planned = plan(source, destination, ConvertOptions(overwrite=overwrite, logit_check=False))
    plan_file.write_bytes(pickle.dumps(planned))
    paths = [root, plan_file, "--no-logit-check", *options, source, destination]
    return [sys.executable, "-m", "support.fault_server", *map(str, paths)]


def server_environment() -> dict[str, str]:
    """The environment that the process needs."""
    tests = str(Path(__file__).parents[1])
    paths = os.pathsep.join([tests, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": paths}


def ended_of(line: str) -> Ended:
    """What the process says of a conversion."""
    content = json.loads(line)
    return Ended(content["code"], content["errors"], tuple(content["operations"]))
