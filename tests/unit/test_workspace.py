"""Every list of the repository's distributions has all of them."""

import re
from typing import Any

import pytest

from support.workspace import ROOT, plugins, project

pytestmark = pytest.mark.version_independent

PLUGINS = [path.name for path in plugins()]


def workspace() -> dict[str, Any]:
    return project(ROOT)


def test_there_are_plugins() -> None:
    assert len(PLUGINS) >= 3


def test_development_installs_all() -> None:
    lines = (ROOT / "distributions.txt").read_text().splitlines()
    installed = {line for line in lines if line.startswith("-e ")}
    assert installed == {"-e core", *(f"-e plugins/{name}" for name in PLUGINS)}


def test_types_are_checked_in_all() -> None:
    paths = workspace()["tool"]["mypy"]["mypy_path"]
    assert set(paths) == {"core/src", *(f"plugins/{name}/src" for name in PLUGINS)}


def test_an_extra_installs_each_and_one_all() -> None:
    extras = project(ROOT / "core")["project"]["optional-dependencies"]
    for name in PLUGINS:
        distribution = project(ROOT / "plugins" / name)["project"]["name"]
        assert extras[distribution.removeprefix("forgather-convert-")] == [
            f"{distribution}>=0.1,<1"
        ]
    names = {requirement.split("-convert-")[1].split(">")[0] for requirement in _single(extras)}
    (together,) = extras["all"]
    assert set(re.findall(r"[\w-]+", together.partition("[")[2])) == names


def _single(extras: dict[str, list[str]]) -> list[str]:
    return [extras[name][0] for name in extras if name not in ("all", "testing")]


@pytest.mark.parametrize("name", PLUGINS)
def test_a_plugin_is_complete(name: str) -> None:
    """It is typed, documented and tested, and pins the core that it was made for."""
    directory = ROOT / "plugins" / name
    content = project(directory)["project"]
    assert content["dependencies"] == ["forgather-convert>=0.1,<1"]
    (package,) = (directory / "src").iterdir()
    for path in ("README.md", "LICENSE", "tests/test_conformance.py"):
        assert (directory / path).is_file(), path
    assert content["name"] == package.name.replace("_", "-")
    for value in content["entry-points"]["forgather.converters"].values():
        assert value.startswith(f"{package.name}:")


@pytest.mark.parametrize("name", PLUGINS)
def test_a_plugin_is_in_the_table_of_families(name: str) -> None:
    table = (ROOT / "docs" / "families.md").read_text()
    for model_type in project(ROOT / "plugins" / name)["project"]["entry-points"][
        "forgather.converters"
    ]:
        assert f"| `{model_type}` | [" in table
    assert f"](../plugins/{name}/README.md)" in table
