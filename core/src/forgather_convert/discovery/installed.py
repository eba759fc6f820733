"""Converters of installed distributions, from package metadata alone: nothing is imported.

They are entry points of the group ``forgather.converters``, named by the ``model_type``
that they convert.
"""

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
#: Names the only distributions whose converters may be used, separated by commas.
ALLOW_VARIABLE = "FORGATHER_CONVERTERS"
CORE = "forgather-convert"


def canonical_name(name: str) -> str:
    """The form in which names of distributions are compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed_model_types() -> list[str]:
    """The names of all converters that are not switched off; they may be unusable."""
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
    """All converters of installed distributions, those that cannot be used too.

    Args:
        use_plugins: Whether they may be used; if not, they have the status ``DISABLED``.
        source: The model to convert; packages that lie in it are not looked at.
        group: The group of entry points; extensions are found likewise.
    """
    allowed = _allowed_distributions()
    found = []
    for name in sorted(_names_in_group(group)):
        installed = distribution(name)
        if source is not None and _lies_in(installed, source):
            logger.warning("Ignoring the package '%s': it lies in the source", name)
            continue
        for converter in _converters_of(installed, group):
            if not use_plugins:
                problem = "--no-plugins switches it off."
                found.append(converter.with_problem(Status.DISABLED, problem))
            elif allowed is not None and canonical_name(name) not in allowed:
                problem = f"{ALLOW_VARIABLE} does not name {name}."
                found.append(converter.with_problem(Status.DISABLED, problem))
            else:
                found.append(_checked(converter, installed))
    return found


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
            # Damaged metadata of one package, whichever it is, must not disturb the others.
            logger.debug("Ignoring a package with damaged metadata: %r", error)
    return set(names.values())


def _converters_of(installed: Distribution, group: str) -> Iterable[PluginCandidate]:
    """The entry points of the copy that Python imports; an older one may be installed, too."""
    # An entry point given twice is one.
    for entry_point in dict.fromkeys(installed.entry_points.select(group=group)):
        yield PluginCandidate(
            model_type=entry_point.name,
            origin=Origin.INSTALLED,
            loadable=entry_point,
            distribution=installed.name,
            version=installed.version,
        )


def _checked(converter: PluginCandidate, installed: Distribution) -> PluginCandidate:
    unsatisfied = _unsatisfied_requirement(installed)
    if unsatisfied is not None:
        problem = (
            f"It requires {unsatisfied}, but {CORE} {core_version()} is installed. "
            "Upgrade the older of the two."
        )
        return converter.with_problem(Status.INCOMPATIBLE, problem)
    module = converter.target.partition(":")[0].strip().partition(".")[0]
    if not _can_be_found(module):
        problem = f"Its module '{module}' is not there. Reinstall {converter.distribution}."
        return converter.with_problem(Status.MISSING_MODULE, problem)
    return converter


def _unsatisfied_requirement(installed: Distribution) -> str | None:
    """What a distribution requires of the core, if the installed core is not that."""
    # Here: the help does not wait for it.
    from packaging.requirements import InvalidRequirement, Requirement

    version = core_version()
    for text in installed.requires or ():
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            # Another tool's business, unless it is about us.
            if text.strip().lower().replace("_", "-").startswith(CORE):
                return text
            continue
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        is_core = canonical_name(requirement.name) == CORE
        if is_core and applies and not requirement.specifier.contains(version, prereleases=True):
            return f"{requirement.name}{requirement.specifier}"
    return None


def core_version() -> str:
    """The version of this package; ``"0"`` where it is not installed."""
    try:
        return installed_version(CORE)
    except PackageNotFoundError:  # run from its sources
        return "0"


def _can_be_found(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:
        # It is imported already and does not say from where, or has no name.
        return module in sys.modules


def _lies_in(installed: Distribution, source: Path) -> bool:
    """Whether a package would be imported from a model's directory.

    That is so where Python runs in that directory and looks for packages there. A virtual
    environment in it is the user's own.
    """
    place = Path(str(installed.locate_file(""))).resolve()
    return place.is_relative_to(source.resolve()) and not place.is_relative_to(
        Path(sys.prefix).resolve()
    )
