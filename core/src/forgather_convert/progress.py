"""How a conversion or a comparison reports its progress."""

import time
from collections.abc import Callable, Mapping
from enum import Enum

#: Called with the number of bytes processed since the last call. It may raise to stop the work.
Advance = Callable[[int], None]


class Phase(Enum):
    """The steps of a conversion or a comparison, in order."""

    #: Detect what a directory holds, and find its converter.
    READ = "read"
    PLAN = "plan"
    WRITE = "write"
    #: Compare the weights of two models.
    COMPARE = "compare"
    #: The logit check.
    CHECK = "check"
    #: The generation test, if requested.
    GENERATE = "generate"
    #: Compute the SHA-256 of every file written, if requested.
    HASH = "hash"
    #: Flush everything to the disk and move it to the destination.
    COMMIT = "commit"


class Progress:
    """Receives progress. This class ignores it; subclasses override what they need."""

    def start(self, phase: Phase, total: int = 0) -> None:
        """A phase begins; or the total of the current phase changes.

        Args:
            phase: The phase.
            total: The number of bytes it will process; 0 if it does not count bytes.
        """

    def advance(self, count: int) -> None:
        """The phase has processed ``count`` more bytes; in the end they add up to its total."""

    def head_start(self, seconds: float) -> None:
        """The phase's work had already been running, in the background of another phase.

        Args:
            seconds: For how long, until the phase began or the work was done.
        """

    def generated(self, model: str, text: str, tokens_per_second: float) -> None:
        """A model of the generation test has generated more text.

        Args:
            model: Which model: ``"result"`` or ``"source"``.
            text: The prompt and everything generated so far.
            tokens_per_second: The speed.
        """

    def finish(self) -> None:
        """The last phase is over."""


class TimedProgress(Progress):
    """Measures how long each phase takes, and forwards everything to another ``Progress``."""

    def __init__(self, progress: Progress) -> None:
        self._begin = time.monotonic()
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

    def head_start(self, seconds: float) -> None:
        if self._phase is not None:
            self._seconds[self._phase] = self._seconds.get(self._phase, 0.0) + seconds
        self._progress.head_start(seconds)

    def generated(self, model: str, text: str, tokens_per_second: float) -> None:
        self._progress.generated(model, text, tokens_per_second)

    def finish(self) -> None:
        self._note()
        self._phase = None
        self._progress.finish()

    def seconds(self) -> Mapping[Phase, float]:
        """The seconds that each completed phase took; those of overlapping phases count twice."""
        return dict(self._seconds)

    def elapsed(self) -> float:
        """The seconds since the conversion began."""
        return time.monotonic() - self._begin

    def _note(self) -> None:
        now = time.monotonic()
        if self._phase is not None:
            self._seconds[self._phase] = self._seconds.get(self._phase, 0.0) + now - self._since
        self._since = now
