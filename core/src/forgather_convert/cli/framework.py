"""The command line of the Forgather framework, which has a script of the same name.

The script ``forgather`` belongs to whichever of the two was installed last. Ours hands commands
that it does not have over to the framework's, of which nothing is imported before that.
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

from forgather_convert.errors import ForgatherConvertError, cause_of

DISTRIBUTION = "forgather"
_SCRIPT = "forgather"


class FrameworkError(ForgatherConvertError):
    """The framework is installed, but its command line cannot be imported."""


@dataclass(frozen=True)
class Framework:
    """The framework's command line.

    Attributes:
        version: The version of its distribution.
        entry_point: The entry point of its script.
    """

    version: str
    entry_point: EntryPoint

    def run(self, arguments: Sequence[str]) -> object:
        """Runs its script, and returns the value that the script would exit with.

        Raises:
            FrameworkError: It cannot be imported.
        """
        main = self._main()
        sys.argv = [_SCRIPT, *arguments]
        return main()

    def help(self) -> str:
        """The text of its ``--help``, or why it is not available."""
        text = io.StringIO()
        before = sys.argv
        try:
            with redirect_stdout(text):
                self.run(["--help"])
        except SystemExit:
            pass
        except FrameworkError as error:
            return str(error)
        # Whatever it raises must not affect our own help.
        except Exception as error:
            return f"Its help failed with {cause_of(error)}."
        finally:
            sys.argv = before
        return text.getvalue().strip()

    def _main(self) -> Callable[[], Any]:
        try:
            main: Callable[[], Any] = self.entry_point.load()
        except (Exception, SystemExit) as error:
            raise FrameworkError(
                f"{self.entry_point.value} of {DISTRIBUTION} {self.version} cannot be imported: "
                f"{cause_of(error)}. Reinstall the framework or the missing "
                "dependency."
            ) from error
        return main


def find_framework() -> Framework | None:
    """The installed framework, if there is one; none of it is imported."""
    try:
        installed = distribution(DISTRIBUTION)
    except PackageNotFoundError:
        return None
    for entry_point in installed.entry_points.select(group="console_scripts", name=_SCRIPT):
        if _can_be_found(entry_point.module):
            return Framework(installed.version, entry_point)
    return None


def _can_be_found(module: str) -> bool:
    """Whether a module exists; finds out without importing the package that contains it."""
    package, *rest = module.split(".")
    spec = find_spec(package)
    for position in range(len(rest)):
        if spec is None:
            return False
        name = ".".join([package, *rest[: position + 1]])
        spec = PathFinder.find_spec(name, spec.submodule_search_locations)
    return spec is not None
