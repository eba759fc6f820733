"""A converter that was found, and not necessarily imported."""

from dataclasses import dataclass, replace
from enum import Enum
from importlib.metadata import EntryPoint
from pathlib import Path


class Origin(Enum):
    """Where converters come from; earlier ones are preferred."""

    PATH = "converter path"
    INSTALLED = "installed"
    TREE = "working tree"


class Status(Enum):
    """What is known about a converter before it is imported."""

    OK = "ok"
    DISABLED = "disabled"
    CONFLICT = "conflict"
    INCOMPATIBLE = "incompatible"
    MISSING_MODULE = "missing module"
    UNREADABLE = "unreadable"
    OF_THE_FRAMEWORK = "framework"
    OVERRIDDEN = "overridden"


@dataclass(frozen=True)
class PluginCandidate:
    """A converter that was found.

    Attributes:
        model_type: What it converts; ``None`` for a file that does not say it before it runs.
        origin: The kind of place where it was found.
        loadable: The entry point, or the file that registers it.
        distribution: The name of the installed distribution.
        version: The version of the installed distribution.
        status: What is known without importing it.
        problem: For any other status than ``OK``: what is wrong, and what to do.
    """

    model_type: str | None
    origin: Origin
    loadable: EntryPoint | Path
    distribution: str | None = None
    version: str | None = None
    status: Status = Status.OK
    problem: str = ""

    @property
    def place(self) -> str:
        """Where it is, for messages: a distribution with its version, or a file."""
        if self.distribution is None:
            return str(self.target)
        return f"{self.distribution} {self.version}"

    @property
    def target(self) -> str:
        """What is loaded: ``module:Class``, or a file."""
        return self.loadable.value if isinstance(self.loadable, EntryPoint) else str(self.loadable)

    def with_problem(self, status: Status, problem: str) -> "PluginCandidate":
        return replace(self, status=status, problem=problem)
