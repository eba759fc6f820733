"""Checks one family: format, lint and types of its plugin, and the conformance kit.

``make check FAMILY=llama`` runs this in the environment of the tests with transformers 5. FAMILY is
a model type or the name of a plugin.
"""

import subprocess
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent


def plugin_of(family: str) -> Path:
    """The directory of the plugin that converts a family, or that has this name."""
    names = []
    for project in sorted((ROOT / "plugins").glob("*/pyproject.toml")):
        content = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
        model_types = [*content["entry-points"]["forgather.converters"]]
        if family in (project.parent.name, *model_types):
            return project.parent
        names += model_types
    sys.exit(f"No plugin converts '{family}'. FAMILY is one of: {', '.join(sorted(names))}.")


def main() -> None:
    plugin = plugin_of(sys.argv[1]).relative_to(ROOT)
    for command in (
        ["ruff", "format", "--check", plugin],
        ["ruff", "check", plugin],
        ["mypy", plugin / "src"],
        ["pytest", "-q", "-n", "2", "--dist", "load", "--every-config", plugin / "tests"],
    ):
        print("+", *command, flush=True)
        ended = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=False)
        if ended.returncode:
            sys.exit(ended.returncode)


if __name__ == "__main__":
    main()
