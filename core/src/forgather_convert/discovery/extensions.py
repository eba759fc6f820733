"""Extensions of installed distributions: entry points of the group ``forgather.extensions``."""

from pathlib import Path

from forgather_convert.discovery.found import PluginCandidate, Status
from forgather_convert.discovery.installed import EXTENSION_GROUP, find_installed
from forgather_convert.errors import ConverterError, cause_of
from forgather_convert.families.extensions import Extension


def find_extensions(use_plugins: bool = True, source: Path | None = None) -> list[PluginCandidate]:
    """Lists all extensions of installed distributions; imports nothing.

    Args:
        use_plugins: Whether they may be used; if not, they have the status ``DISABLED``.
        source: The model to convert; packages inside it are ignored.
    """
    return find_installed(use_plugins, source, EXTENSION_GROUP)


def load_extensions(use_plugins: bool = True, source: Path | None = None) -> list[Extension]:
    """Imports the extensions that may be used.

    Raises:
        ConverterError: One cannot be imported, or is not compatible with the installed core.
    """
    if not use_plugins:
        return []
    return [
        load_extension(candidate)
        for candidate in find_extensions(use_plugins, source)
        if candidate.status is not Status.DISABLED
    ]


def load_extension(candidate: PluginCandidate) -> Extension:
    """Imports an extension.

    Raises:
        ConverterError: It cannot be imported, or is not compatible with the installed core.
    """
    name = f"{candidate.place} (extension '{candidate.model_type}')"
    if candidate.status is not Status.OK:
        raise ConverterError(f"The extension of {name} cannot be used. {candidate.problem}")
    assert not isinstance(candidate.loadable, Path)
    try:
        plugin = candidate.loadable.load()
        # An extension may be a class, which is instantiated.
        return Extension(name, plugin() if isinstance(plugin, type) else plugin)
    # An extension that calls sys.exit is a broken extension, not the end of the program.
    except (Exception, SystemExit) as error:
        raise ConverterError(
            f"The extension of {name} ({candidate.target}) cannot be imported: "
            f"{cause_of(error)}. Reinstall or upgrade it, or use --no-plugins."
        ) from error
