"""The distributions of this repository."""

import sys
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]


def plugins() -> list[Path]:
    """The directories of the plugins."""
    return sorted(path.parent for path in (ROOT / "plugins").glob("*/pyproject.toml"))


def project(directory: Path) -> dict[str, Any]:
    """The content of a directory's ``pyproject.toml``."""
    content: dict[str, Any] = tomllib.loads((directory / "pyproject.toml").read_text())
    return content


def model_types() -> list[str]:
    """What the plugins convert, sorted."""
    return sorted(
        name
        for path in plugins()
        for name in project(path)["project"]["entry-points"]["forgather.converters"]
    )


def families() -> list[str]:
    """A model type of each converter, without others of the same architecture; sorted."""
    first: dict[str, str] = {}
    for path in plugins():
        entries = project(path)["project"]["entry-points"]["forgather.converters"]
        for name, converter in entries.items():
            first.setdefault(converter, name)
    return sorted(first.values())
