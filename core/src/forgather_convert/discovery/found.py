"""Converters and extensions that were found, but not imported."""

from dataclasses import dataclass, replace
from enum import Enum
from importlib.metadata import EntryPoint
from pathlib import Path


class Origin(Enum):
    """Where converters come from; earlier origins take precedence."""

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
    """A converter or an extension that was found.

    Attributes:
        model_type: The model type it converts, ``None`` for a file that tells it only when it
            runs; the name of an extension.
        origin: Where it was found.
        loadable: The entry point, or the file that registers it.
        distribution: The name of the installed distribution.
        version: The version of the installed distribution.
        status: What is known without importing it.
        problem: For any status except ``OK``: what is wrong, and what to do.
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
        """Where it is, for messages: a distribution and its version, or a file."""
        if self.distribution is None:
            return str(self.target)
        return f"{self.distribution} {self.version}"

    @property
    def target(self) -> str:
        """What to load: ``module:Class``, or a file."""
        return self.loadable.value if isinstance(self.loadable, EntryPoint) else str(self.loadable)

    def with_problem(self, status: Status, problem: str) -> "PluginCandidate":
        return replace(self, status=status, problem=problem)
