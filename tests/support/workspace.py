"""The distributions of this repository."""

from pathlib import Path
from typing import Any

import tomllib

ROOT = Path(__file__).resolve().parents[2]


def plugins() -> list[Path]:
    """The directories of the plugins."""
    return sorted(path.parent for path in (ROOT / "plugins").glob("*/pyproject.toml"))


def project(directory: Path) -> dict[str, Any]:
    """The content of a directory's ``pyproject.toml``."""
    return tomllib.loads((directory / "pyproject.toml").read_text())


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
