"""Extensions of the tool, and their plugin managers.

Every conversion has its own manager, on which the base converter, one family and the installed
extensions are registered, so that no other family can answer.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from forgather_convert.errors import ConverterError, ForgatherConvertError, cause_of
from forgather_convert.families.derived_calls import calls_hooks
from forgather_convert.families.hookspecs import (
    PROJECT_NAME,
    ConverterHooks,
    ExtensionHooks,
    hookimpl,
)
from forgather_convert.quantization.description import (
    Dequantizer,
    FindDequantizer,
    Quantization,
)
from forgather_convert.quantization.formats import METHODS
from forgather_convert.weights.formats import FORMATS, OpenWeights

if TYPE_CHECKING:
    from forgather_convert.weights.checkpoint import Checkpoint


@dataclass(frozen=True)
class Extension:
    """A loaded extension.

    Attributes:
        name: Its name in messages: its distribution and version.
        plugin: The module or object whose functions are marked with ``hookimpl``.
    """

    name: str
    plugin: Any


class _CoreFormat:
    """One of core's weights formats, which implements ``open_weights`` like an extension."""

    def __init__(self, open_format: OpenWeights) -> None:
        self._open = open_format

    @hookimpl
    def open_weights(self, directory: Path) -> "Checkpoint | None":
        return self._open(directory)


class _CoreMethod:
    """One of core's quantization methods, which implements ``dequantize`` like an extension."""

    def __init__(self, find: FindDequantizer) -> None:
        self._find = find

    @hookimpl
    def dequantize(self, quantization: Quantization) -> Dequantizer | None:
        return self._find(quantization)


#: In the order of registration: pluggy calls the last one first.
CORE_PARTS: Mapping[str, Any] = {
    **{name: _CoreFormat(open_format) for name, open_format in FORMATS.items()},
    **{name: _CoreMethod(find) for name, find in METHODS.items()},
}


class _Manager(pluggy.PluginManager):
    """Does not look for hooks among what all objects have, where pluggy is slow."""

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> Any:
        return None if name.startswith("__") else super().parse_hookimpl_opts(plugin, name)

    def parse_hookspec_opts(self, module_or_class: Any, name: str) -> Any:
        return None if name.startswith("__") else super().parse_hookspec_opts(module_or_class, name)


def plugin_manager(
    parts: Mapping[str, Any], extensions: Iterable[Extension]
) -> pluggy.PluginManager:
    """A manager with parts of core or of a family, and extensions, which are called first.

    Raises:
        ConverterError: An extension does not match the hooks' specifications.
    """
    manager = _Manager(PROJECT_NAME)
    manager.add_hookspecs(ConverterHooks)
    manager.add_hookspecs(ExtensionHooks)
    for name, part in parts.items():
        manager.register(part, name)
    for extension in extensions:
        try:
            manager.register(extension.plugin, extension.name)
            manager.check_pending()
        except (pluggy.PluginValidationError, ValueError) as error:
            problem = " ".join(str(error).split())
            raise ConverterError(
                f"The extension {extension.name} does not match the hooks' specifications: "
                f"{problem}. Upgrade it, or use --no-plugins."
            ) from error
    return manager


@calls_hooks
class ExtensionCalls(ExtensionHooks):
    """The hooks that extensions and core's own parts answer side by side, each as a method.

    Args:
        parts: The parts of core, each with a name.
        extensions: The extensions.
    """

    def __init__(self, parts: Mapping[str, Any], extensions: Iterable[Extension]) -> None:
        self._manager = plugin_manager(parts, extensions)

    def _call(self, name: str, **arguments: Any) -> Any:
        try:
            return getattr(self._manager.hook, name)(**arguments)
        except (ForgatherConvertError, OSError):
            raise
        except Exception as error:
            names = [
                implementation.plugin_name
                for implementation in getattr(self._manager.hook, name).get_hookimpls()
            ]
            raise ConverterError(
                f"{' or '.join(names)} failed in {name}: {cause_of(error)}. Upgrade "
                "the extension, or use --no-plugins."
            ) from error
