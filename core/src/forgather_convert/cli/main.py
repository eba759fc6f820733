"""The ``forgather`` command."""

import logging
import signal
import sys
from types import FrameType

import click

from forgather_convert.cli.console import echo_error, echo_usage_error
from forgather_convert.cli.convert import convert_command
from forgather_convert.cli.converters import converters_group
from forgather_convert.errors import ForgatherConvertError

# By name: run as a module, this one is called __main__.
logger = logging.getLogger("forgather_convert.cli.main")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="forgather-convert")
def forgather() -> None:
    """Converts models between Hugging Face and Forgather, losslessly."""


forgather.add_command(convert_command)
forgather.add_command(converters_group)


class _Terminated(BaseException):
    """SIGTERM arrived: unwind, so that nothing half-written stays."""


def _on_terminate(number: int, frame: FrameType | None) -> None:
    raise _Terminated


def main() -> None:
    """Runs the command line.

    Exits with 0 if all was done, 1 for a reported error, 2 for wrong usage, and as the
    shell expects when a signal ended it.
    """
    signal.signal(signal.SIGTERM, _on_terminate)
    try:
        forgather.main(standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        echo_usage_error(error)
        sys.exit(error.exit_code)
    except ForgatherConvertError as error:
        _report(str(error))
        sys.exit(1)
    except OSError as error:
        _report(_describe(error))
        sys.exit(1)
    except (click.Abort, KeyboardInterrupt):
        _report("Interrupted; nothing was written.")
        sys.exit(128 + signal.SIGINT)
    except _Terminated:
        _report("Terminated; nothing was written.")
        sys.exit(128 + signal.SIGTERM)


def _report(message: str) -> None:
    """Prints an error; with its traceback if the log level is DEBUG."""
    root = logging.getLogger("forgather_convert")
    if root.handlers:
        logger.error(message, exc_info=root.isEnabledFor(logging.DEBUG))
    else:
        echo_error(message)


def _describe(error: OSError) -> str:
    place = f"{error.filename}: " if error.filename else ""
    return f"{place}{error.strerror or error}. Nothing was written."


if __name__ == "__main__":
    main()
