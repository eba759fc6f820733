"""The repository's plugins are complete, and every list of families is up to date."""

import ast
import importlib.util
from pathlib import Path
from typing import Any

import pytest

from support.workspace import ROOT, plugins, project

pytestmark = pytest.mark.version_independent

PLUGINS = [path.name for path in plugins()]


def script() -> Any:
    """The script that writes the lists."""
    spec = importlib.util.spec_from_file_location("families", ROOT / "scripts" / "families.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_there_are_plugins() -> None:
    assert len(PLUGINS) >= 3


def test_lists_of_families_are_up_to_date() -> None:
    lists = script().lists()
    assert {"distributions.txt", "families.md", "published.py"} <= {path.name for path in lists}
    outdated = [str(path) for path, text in lists.items() if path.read_text() != text]
    assert outdated == [], "Run: python scripts/families.py"


def test_a_new_family_is_in_every_list(tmp_path: Path) -> None:
    """What the script writes for a plugin that is not in the repository."""
    families = script()
    for path in families.lists():
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text())
    package = tmp_path / "plugins/moons/src/forgather_convert_moons"
    package.mkdir(parents=True)
    (package / "moon2.py").write_text(
        'class Moon2:\n    """Moon 2."""\n\n    model_type = "moon2"\n'
    )
    (tmp_path / "plugins/moons/pyproject.toml").write_text(
        '[project]\nname = "forgather-convert-moons"\nversion = "1.2.3"\n'
        '[project.entry-points."forgather.converters"]\n'
        'moon2 = "forgather_convert_moons.moon2:Moon2"\n'
        'luna = "forgather_convert_moons.moon2:Moon2"\n'
    )
    written = {
        str(path.relative_to(tmp_path)): text for path, text in families.lists(tmp_path).items()
    }
    assert "-e plugins/moons\n" in written["distributions.txt"]
    assert (
        '"moon2": "forgather-convert-moons",'
        in written["core/src/forgather_convert/discovery/published.py"]
    )
    assert (
        "| [moons](../plugins/moons/README.md) "
        "| `moon2`: Moon 2.<br>`luna`: The same architecture as `moon2`. |"
    ) in written["docs/families.md"]
    assert "| [moons](plugins/moons/README.md) | `moon2`, `luna` |" in written["README.md"]
    assert 'moons = ["forgather-convert-moons>=1.2,<2"]' in written["core/pyproject.toml"]
    assert '"plugins/moons/src",' in written["pyproject.toml"]


def test_there_is_one_version() -> None:
    directories = [ROOT / "core", *plugins()]
    (version,) = {project(directory)["project"]["version"] for directory in directories}
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {version} " in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("name", PLUGINS)
def test_a_plugin_is_complete(name: str) -> None:
    """It is typed, documented and tested, and pins the core that it was made for."""
    directory = ROOT / "plugins" / name
    content = project(directory)["project"]
    assert content["dependencies"] == ["forgather-convert>=0.1,<1"]
    assert {"readme", "license", "keywords", "classifiers", "urls"} <= content.keys()
    assert {*content["entry-points"]["forgather.converters"]} <= {*content["keywords"]}
    (package,) = (directory / "src").iterdir()
    assert (directory / "README.md").is_file()
    assert (package / "py.typed").is_file()
    assert content["name"] == package.name.replace("_", "-")
    converters = {
        target.removeprefix(f"{package.name}.")
        for target in content["entry-points"]["forgather.converters"].values()
    }
    assert converters == {
        f"{path.stem}:{node.name}"
        for path in package.glob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef)
    }
    tests = (directory / "tests/test_conformance.py").read_text()
    for target in converters:
        assert f"converter_class = {target.partition(':')[2]}\n" in tests


@pytest.mark.parametrize("name", PLUGINS)
def test_the_module_of_a_line_imports_no_model_type(name: str) -> None:
    """So that converting a model of one type runs nothing of the others."""
    (package,) = (ROOT / "plugins" / name / "src").glob("*/__init__.py")
    (documentation,) = ast.parse(package.read_text()).body
    assert isinstance(documentation, ast.Expr)
