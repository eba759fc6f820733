"""Installed, upgraded and removed beside the framework, which has a script of the same name.

The framework is a stand-in with its names. They run in the order of this file, and torch is not
installed: nothing here needs it. What pip does is written down in docs/forgather-framework.md.
"""

import json
import os
import subprocess
import sys

import pytest

from support.distributions import SPECIFICATION, write
from support.framework import PROJECT, write_tree
from support.wheel_environment import WheelEnvironment
from support.workspace import ROOT

#: What the command line imports.
NEEDED = ("click", "packaging", "pluggy", "rich")
OURS = "forgather_convert-"
FRAMEWORK = "forgather-"

#: Runs in the environment: what the module has that converters import.
IS_OURS = """
import forgather.ml.model_conversion as found
print(hasattr(found, "STANDARD_WEIGHT_MAPPING"), hasattr(found, "registered"))
"""


def python_of_the_framework() -> str:
    """Python 3.12, the oldest that it runs with, if that is installed; else this one."""
    command = ["python3.12", "-c", "import sys; print(sys.executable)"]
    # pyenv does not run a version that is not chosen.
    variables = {**os.environ, "PYENV_VERSION": "3.12"}
    try:
        found = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return sys.executable
    return found.stdout.strip()


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> WheelEnvironment:
    """The framework is installed, and this tool after it."""
    work = tmp_path_factory.mktemp("beside")
    # pip runs often, and on a Python that it was not compiled for.
    cache = {"PYTHONPYCACHEPREFIX": str(work / "bytecode")}
    wheels = WheelEnvironment(work, **cache)
    wheels.build([ROOT / "core", PROJECT])
    wheels.create(python_of_the_framework())
    wheels.pip("install", *NEEDED)
    install(wheels, FRAMEWORK)
    install(wheels, OURS)
    return wheels


def install(environment: WheelEnvironment, prefix: str) -> None:
    """As an upgrade does: what is installed already is removed first."""
    options = ("--no-index", "--no-deps", "--force-reinstall")
    environment.pip("install", *options, *environment.wheels(prefix))


def owner_of_script(environment: WheelEnvironment) -> str | None:
    """Whose script ``forgather`` is."""
    if not environment.has_script("forgather"):
        return None
    shown = environment.forgather("converters", "list").stdout
    return "framework" if "framework" in shown else "ours"


def hands_over(environment: WheelEnvironment, *command: str) -> bool:
    shown = environment.script(*command, "-t", "x.yaml", "train", "--help").stdout
    return bool(
        json.loads(shown) == {"framework": ["forgather", "-t", "x.yaml", "train", "--help"]}
    )


def uninstall(environment: WheelEnvironment, name: str) -> None:
    environment.pip("uninstall", "--yes", name)


def test_the_framework_first(both: WheelEnvironment) -> None:
    """Ours has the script, and all that it does not know is the framework's."""
    assert owner_of_script(both) == "ours"
    assert hands_over(both, "forgather")
    shown = both.forgather("--help").stdout
    assert shown.index("converters") < shown.index("framework 2024.0") < shown.index("train ")
    assert "SOURCE_PATH" in both.forgather("convert", "--help").stdout


def test_converter_files(both: WheelEnvironment) -> None:
    """Ours are imported as ours, the framework's are passed over, and its package is its own."""
    theirs = write_tree(both.work / "tree", "theirs")
    mine = write(both.work / "mine" / "converter.py", SPECIFICATION)
    paths = [f"--converter-path={file}" for file in (theirs, mine)]
    listed = both.forgather("converters", "list", "--check", "--json", *paths).stdout
    statuses = {row["model_type"]: row["status"] for row in json.loads(listed)}
    assert statuses == {"theirs": "framework", "my_model": "imported"}
    assert both.python("-c", IS_OURS).stdout == "False True\n"


def test_the_framework_is_upgraded(both: WheelEnvironment) -> None:
    """It has the script then; two other names do all."""
    install(both, FRAMEWORK)
    assert owner_of_script(both) == "framework"
    listed = both.script("forgather-convert", "converters", "list").stdout
    assert listed.startswith("No converters are installed")
    assert hands_over(both, "forgather-convert")
    assert hands_over(both, "python", "-m", "forgather_convert")


def test_ours_is_installed_again(both: WheelEnvironment) -> None:
    install(both, OURS)
    assert owner_of_script(both) == "ours"


def test_the_framework_is_removed(both: WheelEnvironment) -> None:
    """The script goes with it, and comes back; what is not ours is unknown then."""
    uninstall(both, "forgather")
    assert owner_of_script(both) is None
    assert both.python("-c", IS_OURS).stdout == "True False\n"
    install(both, OURS)
    assert owner_of_script(both) == "ours"
    assert both.forgather("train", fails=True).returncode == 2


def test_ours_is_removed(both: WheelEnvironment) -> None:
    """Installed before the framework, and removed from beside it."""
    install(both, FRAMEWORK)
    assert owner_of_script(both) == "framework"
    assert hands_over(both, "forgather-convert")
    uninstall(both, "forgather-convert")
    assert owner_of_script(both) is None
    assert both.python("-c", IS_OURS).stdout == "False True\n"
    install(both, FRAMEWORK)
    assert owner_of_script(both) == "framework"
