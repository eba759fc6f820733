"""The ``forgather`` command."""

import atexit
import gc
import logging
import signal
import sys
from collections.abc import Sequence
from typing import Any

import click

from forgather_convert.cli.allocator import limit_freed_memory
from forgather_convert.cli.command_state import CommandState
from forgather_convert.cli.commands import ForgatherGroup
from forgather_convert.cli.console import echo_error, echo_json, echo_usage_error
from forgather_convert.cli.framework import Framework, FrameworkError, find_framework
from forgather_convert.cli.stop_signals import Stopped, stop_signals
from forgather_convert.cli.streams import OutputError, standard_streams
from forgather_convert.errors import FlushError, ForgatherConvertError

logger = logging.getLogger(__name__)

_STOPPED = {
    signal.SIGINT: "Interrupted",
    signal.SIGTERM: "Terminated",
    signal.SIGHUP: "Hung up",
}
#: The message of a foreign exception is cut to this length.
_LONGEST = 500


@click.group(
    cls=ForgatherGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(
    package_name="forgather-convert", prog_name="forgather-convert", message="%(prog)s %(version)s"
)
def forgather() -> None:
    """Converts models between Hugging Face and Forgather, losslessly."""


def main() -> None:
    """Runs the command line, or the framework's for a command that is not ours.

    Exits with 0 on success, 1 for a reported error, 2 for wrong usage, and as the shell expects
    if a signal ended it.
    """
    arguments = sys.argv[1:]
    framework = None if forgather.owns(arguments) else find_framework()
    if framework is not None:
        sys.exit(_hand_over(framework, arguments))
    # Otherwise the garbage collector would search all of torch and transformers again at exit,
    # which takes a second.
    atexit.register(gc.freeze)
    limit_freed_memory()
    with standard_streams(), stop_signals():
        exit_code = _run(CommandState(as_json="--json" in sys.argv))
    sys.exit(exit_code)


def _hand_over(framework: Framework, arguments: Sequence[str]) -> Any:
    """Runs the framework's command line instead, and returns what it returns."""
    try:
        return framework.run(arguments)
    except FrameworkError as error:
        _report(str(error), error, CommandState())
        return 1


def _run(state: CommandState) -> int:
    """Runs the command and reports what it raises; returns the exit code."""
    try:
        result = forgather.main(
            standalone_mode=False, obj=state, complete_var="_FORGATHER_COMPLETE"
        )
        sys.stdout.flush()
    except click.ClickException as error:
        echo_usage_error(error)
        _print_as_json(error, error.format_message(), state)
        return error.exit_code
    except FlushError as error:
        _report(str(error), error, state)
        return 1
    except ForgatherConvertError as error:
        message = str(error) if state.written is None else state.after_error(str(error))
        _report(message, error, state)
        return 1
    except OSError as error:
        _report(state.after_error(_describe(error)), error, state)
        return 1
    except Stopped as stop:
        _report(state.after_stop(_STOPPED[signal.Signals(stop.number)]), stop, state)
        return 128 + stop.number
    except (click.Abort, KeyboardInterrupt) as stop:
        _report(state.after_stop(_STOPPED[signal.SIGINT]), stop, state)
        return 128 + signal.SIGINT
    except SystemExit:
        raise
    except BaseException as error:
        # Not only Exception: a panic in a Rust library is a BaseException.
        _report(state.after_error(_describe_bug(error)), error, state)
        return 1
    # What a command returned; after --help, click returns 0.
    return result if isinstance(result, int) else 0


def _report(message: str, error: BaseException, state: CommandState) -> None:
    """Prints an error, with its traceback if the log level is DEBUG."""
    root = logging.getLogger("forgather_convert")
    if root.handlers:
        logger.error(message, exc_info=error if root.isEnabledFor(logging.DEBUG) else None)
    else:
        echo_error(message)
    _print_as_json(error, message, state)


def _print_as_json(error: BaseException, message: str, state: CommandState) -> None:
    """Prints an error as JSON to the standard output, if --json was given."""
    if not state.as_json or isinstance(error, OutputError):
        return
    try:
        echo_json(state.error_object(error, message))
        sys.stdout.flush()
    except OutputError:
        # The error itself has already been reported on stderr.
        return


def _describe(error: OSError) -> str:
    prefix = f"{error.filename}: " if error.filename else ""
    return f"{prefix}{error.strerror or error}."


def _describe_bug(error: BaseException) -> str:
    text = " ".join(str(error).split())[:_LONGEST]
    name = type(error).__name__
    return (
        f"This is a bug in forgather-convert: {f'{name}: {text}' if text else name}. Run it again "
        "with --log-level DEBUG for the traceback, and report it."
    )
