"""How far a command got, which its last message has to tell."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class CommandState:
    """Recorded by the command while it runs, and read when it ends for whatever reason.

    Attributes:
        destination: The directory the command was asked to write; ``None`` if it writes no model.
        written: The same directory, once the result is complete there.
        as_json: Whether the result or the error is printed as JSON.
        warnings: The texts of all warnings.
    """

    destination: Path | None = None
    written: Path | None = None
    as_json: bool = False
    warnings: list[str] = field(default_factory=list)

    def note_written(self, path: Path) -> None:
        self.written = path

    def after_error(self, message: str) -> str:
        """An error's message, with the state of the destination."""
        if self.written is not None:
            return f"The result is complete at {self.written}, but a later step failed: {message}"
        return message if self.destination is None else f"{message} Nothing was written."

    def error_object(self, error: BaseException, message: str) -> dict[str, Any]:
        """The error that stopped the command, as JSON."""
        # Imported here because reading metadata takes a while.
        from forgather_convert.discovery.installed import core_version

        return {
            "version": core_version(),
            "error": {"type": type(error).__name__, "message": message},
            "written": None if self.written is None else str(self.written),
            "warnings": list(self.warnings),
        }

    def after_stop(self, what: str) -> str:
        """The message when a signal ended the command."""
        if self.written is not None:
            return f"{what}; the result is complete at {self.written}."
        return f"{what}." if self.destination is None else f"{what}; nothing was written."
