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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import (
    EntryPoint,
    PackageNotFoundError,
    distribution,
    distributions,
)
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


@dataclass(frozen=True)
class _InstalledDistribution:
    """What its metadata says about a distribution with converters or extensions.

    Attributes:
        name: Its name.
        version: Its version.
        entry_points: Its entry points; duplicates count once.
        requires: Its requirements.
        site_packages: The directory from which it is imported.
    """

    name: str
    version: str
    entry_points: tuple[EntryPoint, ...]
    requires: tuple[str, ...]
    site_packages: Path

    def candidates(self, group: str) -> list[PluginCandidate]:
        """Its entry points of a group."""
        return [
            PluginCandidate(
                entry_point.name, Origin.INSTALLED, entry_point, self.name, self.version
            )
            for entry_point in self.entry_points
            if entry_point.group == group
        ]

    @cached_property
    def unsatisfied_requirement(self) -> str | None:
        """Its requirement on core that the installed core does not fulfil."""
        # Imported here so that the help does not wait for it.
        from packaging.requirements import InvalidRequirement, Requirement

        for text in self.requires:
            try:
                requirement = Requirement(text)
            except InvalidRequirement:
                # An invalid requirement matters only if it is about core.
                if text.strip().lower().replace("_", "-").startswith(CORE):
                    return text
                continue
            if canonical_name(requirement.name) != CORE:
                continue
            applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if applies and not requirement.specifier.contains(core_version(), prereleases=True):
                return f"{requirement.name}{requirement.specifier}"
        return None


def installed_model_types() -> list[str]:
    """The names of all converters that are not disabled; they may be unusable."""
    allowed = _allowed_distributions()
    return sorted(
        {
            entry_point.name
            for installed in _distributions()
            if allowed is None or canonical_name(installed.name) in allowed
            for entry_point in installed.entry_points
            if entry_point.group == ENTRY_POINT_GROUP
        }
    )


def find_installed(
    use_plugins: bool = True,
    source: Path | None = None,
    group: str = ENTRY_POINT_GROUP,
    name: str | None = None,
) -> list[PluginCandidate]:
    """Lists the converters of installed distributions, including unusable ones.

    Args:
        use_plugins: Whether they may be used; if not, they have the status ``DISABLED``.
        source: The model to convert; packages inside it are ignored.
        group: The group of entry points; extensions have another one.
        name: The model type to find converters for; by default, all are listed.
    """
    allowed = _allowed_distributions()
    candidates: list[PluginCandidate] = []
    for installed in _distributions():
        converters = installed.candidates(group)
        if not converters:
            continue
        if source is not None and _lies_in(installed, source):
            logger.warning("Ignoring the package '%s': it is inside the source", installed.name)
            continue
        if name is not None:
            converters = [one for one in converters if one.model_type == name]
        problem = ""
        if not use_plugins:
            problem = "--no-plugins disables it."
        elif allowed is not None and canonical_name(installed.name) not in allowed:
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


def _distributions() -> tuple[_InstalledDistribution, ...]:
    """The distributions with converters or extensions, by name.

    What was read is kept until one is installed, replaced or removed.
    """
    return _read_metadata(tuple(_metadata_directories()))


def _metadata_directories() -> Iterator[tuple[str, int]]:
    """The directories with the metadata of distributions, and when each was changed."""
    for directory in sys.path:
        try:
            with os.scandir(directory or ".") as entries:
                yield from (
                    (entry.path, entry.stat().st_mtime_ns)
                    for entry in entries
                    if entry.name.endswith((".dist-info", ".egg-info"))
                )
        except OSError:
            # Python ignores it, too.
            continue


@functools.lru_cache(maxsize=4)
def _read_metadata(
    directories: tuple[tuple[str, int], ...],
) -> tuple[_InstalledDistribution, ...]:
    names: dict[str, str] = {}
    for candidate in distributions():
        try:
            if any(
                one.group in (ENTRY_POINT_GROUP, EXTENSION_GROUP) for one in candidate.entry_points
            ):
                names.setdefault(canonical_name(candidate.name), candidate.name)
        except Exception as error:
            # Damaged metadata of one package must not affect the others.
            logger.debug("Ignoring a package with damaged metadata: %r", error)
    # The copy that Python imports; an older one may also be installed.
    return tuple(map(_read_distribution, sorted(names.values())))


def _read_distribution(name: str) -> _InstalledDistribution:
    installed = distribution(name)
    return _InstalledDistribution(
        name=name,
        version=installed.version,
        entry_points=tuple(dict.fromkeys(installed.entry_points)),
        requires=tuple(installed.requires or ()),
        site_packages=Path(str(installed.locate_file(""))),
    )


def _checked(
    converters: Iterable[PluginCandidate], installed: _InstalledDistribution
) -> Iterable[PluginCandidate]:
    unsatisfied = installed.unsatisfied_requirement
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


def _lies_in(installed: _InstalledDistribution, source: Path) -> bool:
    """Whether a package would be imported from a model's directory.

    This happens if Python runs in that directory and searches it for packages. A virtual
    environment inside it belongs to the user and is not excluded.
    """
    site_packages = installed.site_packages.resolve()
    return site_packages.is_relative_to(source.resolve()) and not site_packages.is_relative_to(
        Path(sys.prefix).resolve()
    )
