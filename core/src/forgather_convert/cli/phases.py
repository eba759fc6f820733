"""The phases of a command on a terminal: one line each, the last one updated in place."""

from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING

from rich.progress import BarColumn, ProgressColumn, SpinnerColumn, Task, TaskID, TextColumn
from rich.progress import Progress as ProgressLines
from rich.table import Column
from rich.text import Text

from forgather_convert.files.plain_text import printable
from forgather_convert.progress import Phase, Progress
from forgather_convert.quantities import describe_seconds, describe_size

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

#: On a narrower terminal there is no bar.
_WIDTH_FOR_BAR = 60


class PhaseLines(Progress):
    """Shows the phases as a context manager; they are erased if an exception leaves it.

    Args:
        console: The console that messages are printed on; they appear above the phases.
    """

    def __init__(self, console: "Console") -> None:
        is_wide = console.width >= _WIDTH_FOR_BAR
        columns: list[ProgressColumn] = [
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description}", table_column=Column(no_wrap=True, width=8)),
            *([_Bar(bar_width=None, table_column=Column(ratio=1))] if is_wide else []),
            _Bytes(justify="right"),
            *([_Rate(justify="right")] if is_wide else []),
            _Time(justify="right"),
        ]
        # What is printed on stdout meanwhile is data and must not be redirected to stderr.
        self._lines = _Lines(*columns, console=console, expand=is_wide, redirect_stdout=False)
        self._phase: Phase | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> "PhaseLines":
        self._lines.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lines.live.transient = error is not None
        self.finish()

    def start(self, phase: Phase, total: int = 0) -> None:
        if phase is not self._phase:
            self._complete()
            self._phase = phase
            self._task = self._lines.add_task(phase.value, total=None, counts=False, head_start=0.0)
        if total and self._task is not None:
            self._lines.update(self._task, total=total, counts=True)

    def advance(self, count: int) -> None:
        if self._task is not None:
            self._lines.advance(self._task, count)

    def head_start(self, seconds: float) -> None:
        if self._task is not None:
            self._lines.update(self._task, head_start=seconds)

    def generated(self, model: str, text: str, tokens_per_second: float) -> None:
        self._lines.below = f"{model}, {tokens_per_second:.1f} tokens/s: {printable(text)}"
        self._lines.refresh()

    def finish(self) -> None:
        """Ends the last phase and the display."""
        self._complete()
        self._lines.stop()

    def _complete(self) -> None:
        if self._task is None:
            return
        if not self._lines.tasks[self._task].fields["counts"]:
            # A phase without a total is complete when it ends.
            self._lines.update(self._task, total=1, completed=1)
        self._task = None
        self._lines.below = ""
        self._lines.refresh()


class _Lines(ProgressLines):
    """The lines of the phases, and below them the text being generated."""

    below = ""

    def get_renderables(self) -> "Iterable[RenderableType]":
        yield from super().get_renderables()
        if self.below:
            yield Text(self.below, style="dim")


class _Column(ProgressColumn):
    """A column whose texts are never wrapped."""

    def __init__(self, justify: str) -> None:
        super().__init__(Column(no_wrap=True, justify=justify))  # type: ignore[arg-type]


class _Bar(BarColumn):
    def render(self, task: Task) -> object:  # type: ignore[override]
        return super().render(task) if task.fields["counts"] else Text()


class _Bytes(_Column):
    def render(self, task: Task) -> Text:
        if not task.fields["counts"]:
            return Text()
        done, total = int(task.completed), int(task.total or 0)
        percentage = min(100 * done // max(total, 1), 100)
        return Text(f"{percentage:3d} % of {describe_size(total)}")


class _Rate(_Column):
    def render(self, task: Task) -> Text:
        if not task.fields["counts"]:
            return Text()
        # While a phase runs, its present speed; in the end, that of all of it.
        speed = task.completed / max(_seconds(task), 1e-3) if task.finished else task.speed
        return Text(f"{describe_size(int(speed))}/s" if speed else "")


class _Time(_Column):
    """How long a phase took; while it runs, the time left if known, else the time so far."""

    def render(self, task: Task) -> Text:
        if task.finished:
            return Text(describe_seconds(_seconds(task)))
        if task.fields["counts"] and task.time_remaining is not None:
            return Text(f"{describe_seconds(task.time_remaining)} left")
        return Text(describe_seconds(task.elapsed or 0.0))


def _seconds(task: Task) -> float:
    """How long a finished phase took, with the time that it ran beside another one."""
    return (task.finished_time or 0.0) + float(task.fields["head_start"])
