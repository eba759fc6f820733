"""Finds converters of installed distributions in package metadata, without importing anything.

They are entry points of the group ``forgather.converters``, named by the ``model_type``
that they convert.
"""

import functools
import importlib.util
import logging
import os
import re
import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from importlib.metadata import version as installed_version
from pathlib import Path

from forgather_convert.discovery.found import Origin, PluginCandidate, Status

logger = logging.getLogger(__name__)

ENTRY_POINT_GROUP = "forgather.converters"
EXTENSION_GROUP = "forgather.extensions"
#: The variable that lists the only distributions whose converters may be used.
ALLOW_VARIABLE = "FORGATHER_CONVERTERS"
CORE = "forgather-convert"


def canonical_name(name: str) -> str:
    """The normalized form of a distribution's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed_model_types() -> list[str]:
    """The names of all converters that are not disabled; they may be unusable."""
    allowed = _allowed_distributions()
    return sorted(
        {
            entry_point.name
            for name in _names_in_group(ENTRY_POINT_GROUP)
            if allowed is None or canonical_name(name) in allowed
            for entry_point in distribution(name).entry_points.select(group=ENTRY_POINT_GROUP)
        }
    )


def find_installed(
    use_plugins: bool = True, source: Path | None = None, group: str = ENTRY_POINT_GROUP
) -> list[PluginCandidate]:
    """Lists all converters of installed distributions, including unusable ones.

    Args:
        use_plugins: Whether they may be used; if not, they have the status ``DISABLED``.
        source: The model to convert; packages inside it are ignored.
        group: The group of entry points; extensions have another one.
    """
    allowed = _allowed_distributions()
    candidates: list[PluginCandidate] = []
    for name in sorted(_names_in_group(group)):
        installed = distribution(name)
        if source is not None and _lies_in(installed, source):
            logger.warning("Ignoring the package '%s': it is inside the source", name)
            continue
        converters = list(_converters_of(installed, group))
        problem = ""
        if not use_plugins:
            problem = "--no-plugins disables it."
        elif allowed is not None and canonical_name(name) not in allowed:
            problem = f"{ALLOW_VARIABLE} does not list it."
        if problem:
            candidates += [one.with_problem(Status.DISABLED, problem) for one in converters]
        else:
            candidates += _checked(converters, installed)
    return candidates


def _allowed_distributions() -> set[str] | None:
    """The allow-list; ``None`` if there is none. An empty one allows nothing."""
    listed = os.environ.get(ALLOW_VARIABLE)
    if listed is None:
        return None
    return {canonical_name(name.strip()) for name in listed.split(",") if name.strip()}


def _names_in_group(group: str) -> set[str]:
    names: dict[str, str] = {}
    for candidate in distributions():
        try:
            if candidate.entry_points.select(group=group):
                names.setdefault(canonical_name(candidate.name), candidate.name)
        except Exception as error:
            # Damaged metadata of one package must not affect the others.
            logger.debug("Ignoring a package with damaged metadata: %r", error)
    return set(names.values())


def _converters_of(installed: Distribution, group: str) -> Iterable[PluginCandidate]:
    """The entry points of the copy that Python imports; an older one may also be installed."""
    # Each reads the distribution's metadata again.
    name, version = installed.name, installed.version
    # Duplicate entry points count once.
    for entry_point in dict.fromkeys(installed.entry_points.select(group=group)):
        yield PluginCandidate(entry_point.name, Origin.INSTALLED, entry_point, name, version)


def _checked(
    converters: Iterable[PluginCandidate], installed: Distribution
) -> Iterable[PluginCandidate]:
    unsatisfied = _unsatisfied_requirement(installed)
    # Most have one module.
    can_be_found = functools.cache(_can_be_found)
    for converter in converters:
        module = converter.target.partition(":")[0].strip().partition(".")[0]
        if unsatisfied is not None:
            problem = (
                f"It requires {unsatisfied}, but {CORE} {core_version()} is installed. "
                "Upgrade the older of the two."
            )
            yield converter.with_problem(Status.INCOMPATIBLE, problem)
        elif not can_be_found(module):
            problem = f"Its module '{module}' does not exist. Reinstall {converter.distribution}."
            yield converter.with_problem(Status.MISSING_MODULE, problem)
        else:
            yield converter


def _unsatisfied_requirement(installed: Distribution) -> str | None:
    """A distribution's requirement on core that the installed core does not fulfil."""
    # Imported here so that the help does not wait for it.
    from packaging.requirements import InvalidRequirement, Requirement

    version = core_version()
    for text in installed.requires or ():
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            # An invalid requirement matters only if it is about core.
            if text.strip().lower().replace("_", "-").startswith(CORE):
                return text
            continue
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        is_core = canonical_name(requirement.name) == CORE
        if is_core and applies and not requirement.specifier.contains(version, prereleases=True):
            return f"{requirement.name}{requirement.specifier}"
    return None


def core_version() -> str:
    """The version of this package; ``"0"`` if it is not installed."""
    try:
        return installed_version(CORE)
    except PackageNotFoundError:  # run from its sources
        return "0"


def _can_be_found(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:
        # It is already imported and does not tell from where, or has no name.
        return module in sys.modules


def _lies_in(installed: Distribution, source: Path) -> bool:
    """Whether a package would be imported from a model's directory.

    This happens if Python runs in that directory and searches it for packages. A virtual
    environment inside it belongs to the user and is not excluded.
    """
    site_packages = Path(str(installed.locate_file(""))).resolve()
    return site_packages.is_relative_to(source.resolve()) and not site_packages.is_relative_to(
        Path(sys.prefix).resolve()
    )
