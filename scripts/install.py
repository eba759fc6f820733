"""Installs packages with pip, and builds those of this repository with one hatchling.

Its arguments are those of ``pip install``. By itself, pip installs the build backend once for each
distribution, which takes longer than all else if large packages are in its cache; and it compiles
every module of torch and transformers, of which Python compiles those that it imports anyway.
"""

import subprocess
import sys


def main() -> None:
    pip = [sys.executable, "-m", "pip", "install"]
    backend = ["--quiet", "hatchling>=1.26", "editables>=0.5"]
    for arguments in (backend, ["--no-build-isolation", *sys.argv[1:]]):
        ended = subprocess.run([*pip, "--no-compile", *arguments], check=False)
        if ended.returncode:
            sys.exit(ended.returncode)


if __name__ == "__main__":
    main()
