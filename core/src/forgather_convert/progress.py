"""What a conversion tells of itself while it runs."""

import time
from collections.abc import Mapping
from enum import Enum


class Phase(Enum):
    """The parts of a conversion, in their order."""

    #: What the source is, and which converter it needs.
    READ = "read"
    PLAN = "plan"
    WRITE = "write"
    #: The logit check.
    CHECK = "check"
    #: The generation test, where it is asked for.
    GENERATE = "generate"
    #: The SHA-256 of what was written, where it is asked for.
    HASH = "hash"
    #: All is brought to the disk, and moved to its place.
    COMMIT = "commit"


class Progress:
    """Follows a conversion. This one takes no notice; a subclass overrides what it wants."""

    def start(self, phase: Phase, total: int = 0) -> None:
        """A phase begins; or, where it has begun, its total turns out to be another.

        Args:
            phase: The phase.
            total: How many bytes it will count; 0 where it counts none.
        """

    def advance(self, count: int) -> None:
        """The phase has dealt with so many bytes more; all together they are its total."""

    def generated(self, model: str, text: str, tokens_per_second: float) -> None:
        """A model of the generation test has gone on.

        Args:
            model: Which one: ``"result"`` or ``"source"``.
            text: The prompt, and all that was generated so far.
            tokens_per_second: How fast that was.
        """

    def finish(self) -> None:
        """The last phase is over."""


class TimedProgress(Progress):
    """Passes everything on, and notes how long each phase takes."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._phase: Phase | None = None
        self._since = 0.0
        self._seconds: dict[Phase, float] = {}

    def start(self, phase: Phase, total: int = 0) -> None:
        if phase is not self._phase:
            self._note()
            self._phase, self._since = phase, time.monotonic()
        self._progress.start(phase, total)

    def advance(self, count: int) -> None:
        self._progress.advance(count)

    def generated(self, model: str, text: str, tokens_per_second: float) -> None:
        self._progress.generated(model, text, tokens_per_second)

    def finish(self) -> None:
        self._note()
        self._phase = None
        self._progress.finish()

    def seconds(self) -> Mapping[Phase, float]:
        """The seconds of each phase that is over."""
        return dict(self._seconds)

    def _note(self) -> None:
        now = time.monotonic()
        if self._phase is not None:
            self._seconds[self._phase] = self._seconds.get(self._phase, 0.0) + now - self._since
        self._since = now
