"""The errors that the library reports.

A message says what is wrong, where, and what to do about it.
"""

from pathlib import Path


class ForgatherConvertError(Exception):
    """The base of all errors that are reported without a traceback."""


class OptionError(ForgatherConvertError):
    """An option has an invalid value."""


class SourceError(ForgatherConvertError):
    """The source is not a model directory, is damaged, or cannot be read."""


class UnsupportedModelError(ForgatherConvertError):
    """No converter is registered for the model, or its family cannot express it."""


class ConverterError(ForgatherConvertError):
    """A converter plugin is broken or conflicts with another one."""


class MappingError(ForgatherConvertError):
    """The source's tensors and the destination's do not match."""


class DestinationError(ForgatherConvertError):
    """The destination cannot be written."""


class ProcessError(ForgatherConvertError):
    """One of the processes of a conversion failed or was lost."""


class FlushError(DestinationError):
    """The result is complete at the destination, but may not survive a power failure.

    Attributes:
        written: The destination, as it was given.
    """

    def __init__(self, message: str, written: Path) -> None:
        super().__init__(message)
        self.written = written


class ReportError(ForgatherConvertError):
    """The report of a conversion cannot be written."""


class ValidationError(ForgatherConvertError):
    """The converted model does not compute what the source computes."""


def cause_of(error: BaseException) -> str:
    """The class and text of an error, without the full stop, for messages that go on after it."""
    return f"{type(error).__name__}: {error}".rstrip(" .:\n")


def first_line(error: BaseException) -> str:
    """The first line of an error's text, for messages that quote it as the cause."""
    return str(error).splitlines()[0] if str(error) else ""
