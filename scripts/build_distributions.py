"""Builds every distribution of this repository, and checks what would be published.

``make dist`` runs this, where build, hatchling and twine are installed. The archives and wheels are
in ``dist/``. They are installed from there into a new environment.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"


def main() -> None:
    shutil.rmtree(DIST, ignore_errors=True)
    projects = [
        ROOT / "core",
        *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml")),
    ]
    for project in projects:
        run(sys.executable, "-m", "build", "--no-isolation", "--outdir", DIST, project)
    files = sorted(DIST.iterdir())
    run(sys.executable, "-m", "twine", "check", "--strict", *files)
    wheels = [path for path in files if path.suffix == ".whl"]
    if (len(wheels), len(files)) != (len(projects), 2 * len(projects)):
        sys.exit(f"{len(projects)} projects, but {len(wheels)} wheels among {len(files)} files")
    with tempfile.TemporaryDirectory() as directory:
        install(Path(directory), wheels)
    print(f"\n{len(files)} files in {DIST.relative_to(ROOT)} are ready: docs/releasing.md")


def install(directory: Path, wheels: list[Path]) -> None:
    """Installs all wheels into an environment of their own, and lets the tool import each."""
    run(sys.executable, "-m", "venv", directory / "environment")
    python = directory / "environment" / "bin" / "python"
    names = [wheel.name.split("-")[0] for wheel in wheels]
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    run(*pip, "install", "--find-links", DIST, *names)
    run(*pip, "check")
    for arguments in (["--version"], ["converters", "list", "--check"]):
        # Elsewhere, so that nothing of the repository can be found.
        run(python.with_name("forgather-convert"), *arguments, cwd=directory)


def run(*command: str | Path, cwd: Path = ROOT) -> None:
    """Runs a command; one that fails ends everything."""
    print("+", *(str(word).replace(f"{ROOT}/", "") for word in command), flush=True)
    constraints = os.environ.get("PIP_CONSTRAINT", str(ROOT / "constraints.txt"))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={**environment, "PIP_CONSTRAINT": constraints},
        check=False,
    )
    if ended.returncode:
        sys.exit(ended.returncode)


if __name__ == "__main__":
    main()
