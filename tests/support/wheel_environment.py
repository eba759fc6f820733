"""An empty environment in which only built wheels are installed."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

from support.workspace import ROOT

#: Does to each project what ``python -m build`` does, without four processes for each.
_BUILD = """
import os, sys, tarfile, tempfile
from hatchling import build

dist, *projects = sys.argv[1:]
for project in projects:
    os.chdir(project)
    name = build.build_sdist(dist)
    with tempfile.TemporaryDirectory() as directory:
        with tarfile.open(os.path.join(dist, name)) as archive:
            archive.extractall(directory, filter="data")
        os.chdir(os.path.join(directory, name.removesuffix(".tar.gz")))
        build.build_wheel(dist)
        os.chdir(project)
"""


class WheelEnvironment:
    """Builds wheels, installs them alone, and runs what was installed.

    Args:
        work: A directory to work in.
        variables: More of the environment of all processes.
    """

    def __init__(self, work: Path, **variables: str) -> None:
        self.work = work
        self.variables = variables
        self.dist = work / "dist"
        self.environment = work / "environment"
        # Away from the repository: nothing in it may be found by its place.
        self.elsewhere = work / "elsewhere"
        self.elsewhere.mkdir()

    def build(self, projects: Iterable[str | Path]) -> None:
        """Builds a source archive of each project, and the wheel from that archive."""
        for project in projects:
            command: list[str | Path] = [
                sys.executable,
                "-m",
                "build",
                "--no-isolation",
                "--outdir",
                self.dist,
            ]
            self.run([*command, ROOT / project])

    def build_all(self, projects: Iterable[Path]) -> None:
        """Builds the same of many projects, all at once."""
        self.dist.mkdir(exist_ok=True)
        self.run([sys.executable, "-c", _BUILD, self.dist, *projects])

    def create(self, python: str | Path = sys.executable) -> None:
        """Makes the environment of a Python, with nothing in it."""
        self.run([python, "-m", "venv", "--without-pip", self.environment])

    def wheels(self, prefix: str = "") -> list[Path]:
        return sorted(self.dist.glob(f"{prefix}*.whl"))

    def names(self, prefix: str) -> set[str]:
        """The names of the files in a wheel."""
        (wheel,) = self.wheels(prefix)
        with zipfile.ZipFile(wheel) as archive:
            return set(archive.namelist())

    def pip(self, *arguments: str | Path) -> None:
        """Runs the pip of this Python for the environment."""
        pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", self._bin / "python"]
        command, *others = arguments
        # Python compiles what it imports; pip would compile all of torch.
        options = ("--no-compile",) if command == "install" else ()
        self.run([*pip, "--disable-pip-version-check", "--quiet", command, *options, *others])

    def python(
        self, *arguments: str | Path, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        return self.run([self._bin / "python", *arguments], cwd=cwd)

    def forgather(
        self, *arguments: str | Path, fails: bool = False
    ) -> subprocess.CompletedProcess[str]:
        return self.script("forgather", *arguments, fails=fails)

    def script(
        self, name: str, *arguments: str | Path, fails: bool = False
    ) -> subprocess.CompletedProcess[str]:
        return self.run([self._bin / name, *arguments], fails)

    def has_script(self, name: str) -> bool:
        return (self._bin / name).exists()

    @property
    def _bin(self) -> Path:
        return self.environment / "bin"

    def run(
        self, command: list[str | Path], fails: bool = False, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command; one that fails is an error, unless that is expected."""
        # Nothing may be found by a path that somebody has set.
        inherited = {name: os.environ[name] for name in os.environ if name != "PYTHONPATH"}
        constraints = os.environ.get("PIP_CONSTRAINT") or str(ROOT / "constraints.txt")
        result = subprocess.run(
            list(map(str, command)),
            cwd=cwd or self.elsewhere,
            env={
                **inherited,
                "PIP_CONSTRAINT": constraints,
                "HF_HUB_OFFLINE": "1",
                **self.variables,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        shown = " ".join(str(word).strip().split("\n")[0] for word in command)
        assert fails or result.returncode == 0, (
            f"{shown} exited with {result.returncode}:\n{result.stdout}{result.stderr}"
        )
        return result
