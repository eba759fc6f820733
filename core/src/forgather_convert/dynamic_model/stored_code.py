"""Reads the model code that lies in a directory; it does not run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgather_convert.dynamic_model.loading import DynamicModelClasses
from forgather_convert.dynamic_model.project import Project
from forgather_convert.source.config_file import SourceConfig


@dataclass(frozen=True)
class StoredCode:
    """The Python files of a directory's model."""

    files: Mapping[str, str]


def read_stored_code(directory: Path, config: Mapping[str, Any]) -> StoredCode | None:
    """Reads the code that a config names; ``None`` if there is none."""
    return None


def complete_with_stored_defaults(config: SourceConfig, stored: StoredCode | None) -> SourceConfig:
    """A config with what its own code takes for fields that it leaves out."""
    return config


def differs_from_generated(stored: StoredCode, project: Project) -> tuple[str, ...]:
    """The names of files that are not what the generator writes."""
    return tuple(stored.files)


def load_stored_code(stored: StoredCode) -> DynamicModelClasses:
    """Imports the code as a package of its own."""
    raise NotImplementedError
