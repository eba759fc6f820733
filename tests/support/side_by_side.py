"""Versions of a distribution beside the one that is installed, with all else shared.

Each is in a directory of the current environment, to be put in front of ``PYTHONPATH``. What it
requires is installed there, too, where the environment has another version.
"""

import importlib.metadata
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

_DIRECTORY = Path(sys.prefix) / "side-by-side"
#: More steps than it takes to reach what is required by what is required.
_MOST_STEPS = 8


def newest_of_each_minor(name: str, dependency_of: str) -> dict[str, str]:
    """The newest version of every minor version that a distribution declares to work with.

    Args:
        name: What has the versions; the package index is asked for them.
        dependency_of: The installed distribution that requires it.

    Returns:
        The versions by their minor versions, as ``{"5.0": "5.0.1"}``, the oldest first.
    """
    requirements = map(Requirement, importlib.metadata.requires(dependency_of) or [])
    (declared,) = (each for each in requirements if each.name == name and each.marker is None)
    listing = re.search("Available versions: (.*)", _pip("index", "versions", name))
    assert listing is not None
    versions = sorted(map(Version, listing[1].split(", ")))
    return {
        f"{version.major}.{version.minor}": str(version)
        for version in versions
        if version in declared.specifier
    }


def installed(name: str, version: str) -> Path:
    """The directory of a version, which is installed once."""
    directory = _DIRECTORY / f"{name}-{version}"
    if not directory.exists():
        # Under another name until it is complete.
        partial = directory.with_name(f"{directory.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        _install(partial, [f"{name}=={version}"])
        for _ in range(_MOST_STEPS):
            missing = sorted(set(_unmet(partial)))
            if not missing:
                break
            _install(partial, missing)
        else:
            raise RuntimeError(f"The requirements of {name} {version} are not met: {missing}")
        partial.rename(directory)
    return directory


def _unmet(directory: Path) -> Iterator[str]:
    """What the distributions in a directory require and do not find there or beside it."""
    own = {each.name: each for each in importlib.metadata.distributions(path=[str(directory)])}
    versions = {_normalized(name): each.version for name, each in own.items()}
    for distribution in own.values():
        for requirement in map(Requirement, distribution.requires or []):
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
                continue
            version = versions.get(_normalized(requirement.name)) or _version(requirement.name)
            if version is None or not requirement.specifier.contains(version, prereleases=True):
                yield f"{requirement.name}{requirement.specifier}"


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _install(directory: Path, requirements: Iterable[str]) -> None:
    _pip("install", "--quiet", "--no-deps", "--upgrade", "--target", str(directory), *requirements)


def _pip(*arguments: str) -> str:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return result.stdout
