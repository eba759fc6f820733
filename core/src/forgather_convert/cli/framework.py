"""The command line of the Forgather framework, which has a script of the same name.

Whichever of the two is installed last has the script ``forgather``. Ours hands over to the
framework's what is not ours. Until then nothing of the framework is imported.
"""

import io
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.machinery import PathFinder
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution
from importlib.util import find_spec
from typing import Any

from forgather_convert.errors import ForgatherConvertError

DISTRIBUTION = "forgather"
_SCRIPT = "forgather"


class FrameworkError(ForgatherConvertError):
    """The framework is installed, and its command line cannot be imported."""


@dataclass(frozen=True)
class Framework:
    """The framework's command line.

    Attributes:
        version: The version of its distribution.
        entry_point: What its script calls.
    """

    version: str
    entry_point: EntryPoint

    def run(self, arguments: Sequence[str]) -> object:
        """Does what its script does; gives what a script ends with.

        Args:
            arguments: Those of the command line, without the program.

        Raises:
            FrameworkError: It cannot be imported.
        """
        main = self._main()
        sys.argv = [_SCRIPT, *arguments]
        return main()

    def help(self) -> str:
        """The text of its ``--help``, or why there is none."""
        text = io.StringIO()
        before = sys.argv
        try:
            with redirect_stdout(text):
                self.run(["--help"])
        except SystemExit:
            pass
        except FrameworkError as error:
            return str(error)
        # Whatever it raises, our own help is not concerned.
        except Exception as error:
            return f"Its help ends with {type(error).__name__}: {error}."
        finally:
            sys.argv = before
        return text.getvalue().strip()

    def _main(self) -> Callable[[], Any]:
        try:
            main: Callable[[], Any] = self.entry_point.load()
        except (Exception, SystemExit) as error:
            raise FrameworkError(
                f"{self.entry_point.value} of {DISTRIBUTION} {self.version} cannot be imported: "
                f"{type(error).__name__}: {error}. Reinstall the framework, or what it needs."
            ) from error
        return main


def find_framework() -> Framework | None:
    """The framework that is installed, if it is; none of it is imported."""
    try:
        installed = distribution(DISTRIBUTION)
    except PackageNotFoundError:
        return None
    for entry_point in installed.entry_points.select(group="console_scripts", name=_SCRIPT):
        if _can_be_found(entry_point.module):
            return Framework(installed.version, entry_point)
    return None


def _can_be_found(module: str) -> bool:
    """Whether there is a module, found without importing the package that it is in."""
    package, *rest = module.split(".")
    spec = find_spec(package)
    for position in range(len(rest)):
        if spec is None:
            return False
        name = ".".join([package, *rest[: position + 1]])
        spec = PathFinder.find_spec(name, spec.submodule_search_locations)
    return spec is not None
