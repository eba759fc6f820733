"""How far a command has come: what its last message has to say."""

from dataclasses import dataclass
from pathlib import Path


@dataclass
class Outcome:
    """Noted by the command while it runs, read when it ends for whatever reason.

    Attributes:
        destination: What the command was asked to write; ``None`` if it writes no model.
        written: The same, once the result is in its place.
    """

    destination: Path | None = None
    written: Path | None = None

    def note_written(self, path: Path) -> None:
        self.written = path

    def after_error(self, message: str) -> str:
        """An error's message, complete with what is there now."""
        if self.written is not None:
            return (
                f"The result is complete at {self.written}, but what came after that failed: "
                f"{message}"
            )
        return message if self.destination is None else f"{message} Nothing was written."

    def after_stop(self, what: str) -> str:
        """The message when something from outside ends the command."""
        if self.written is not None:
            return f"{what}; the result is complete at {self.written}."
        return f"{what}." if self.destination is None else f"{what}; nothing was written."
