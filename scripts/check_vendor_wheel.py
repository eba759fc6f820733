"""Makes a vendor's distribution, installs its wheel beside the core alone, and tests it there.

Usage: python scripts/check_vendor_wheel.py WORK_DIRECTORY

It needs the packages of the dependency group ``build``. ``tox run -e vendor`` runs it.
"""

import shutil
import sys
from pathlib import Path

from check_wheels import WRITE_MODEL
from wheel_environment import CheckError, WheelEnvironment, run_steps

DISTRIBUTION = "forgather-convert-acme"


class Checks(WheelEnvironment):
    """From ``forgather converters new`` to a conversion, in the order of a vendor's work."""

    @property
    def project(self) -> Path:
        return self.elsewhere / DISTRIBUTION

    def install_core(self) -> None:
        self.build(["core"])
        self.create()
        (core,) = self.wheels("forgather_convert-")
        self.pip("install", f"{core}[testing]")

    def make_distribution(self) -> None:
        self.forgather(
            *("converters", "new", "acme"),
            *("--model-type", "llama", "--hf-class", "LlamaForCausalLM"),
        )

    def install_wheel(self) -> None:
        self.build([self.project])
        self.pip("install", *self.wheels("forgather_convert_acme"))
        self.pip("check")

    def run_its_tests(self) -> None:
        result = self.python("-m", "pytest", "-q", cwd=self.project)
        print("  " + result.stdout.strip().splitlines()[-1])
        if " passed" not in result.stdout:
            raise CheckError(f"no test ran:\n{result.stdout}")

    def list_it(self) -> None:
        listed = self.forgather("converters", "list").stdout
        if DISTRIBUTION not in listed:
            raise CheckError(f"it is not in the list:\n{listed}")

    def convert(self) -> None:
        source, there, back = (self.work / name for name in ("hf", "fg", "back"))
        self.python("-c", WRITE_MODEL, "llama", source)
        self.forgather("convert", source, there)
        self.forgather("convert", there, back)
        self.run(["diff", "-r", source, back])


def main() -> None:
    work = Path(sys.argv[1]).resolve() / "vendor"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    checks = Checks(work)
    steps = [
        ("the core installs alone, with the conformance kit", checks.install_core),
        ("'forgather converters new' makes a distribution", checks.make_distribution),
        ("its wheel installs", checks.install_wheel),
        ("it is listed", checks.list_it),
        ("its own tests pass, unmodified", checks.run_its_tests),
        ("a model converts with it and comes back, without a flag", checks.convert),
    ]
    sys.exit(
        run_steps(steps, (checks.install_core, checks.make_distribution, checks.install_wheel))
    )


if __name__ == "__main__":
    main()
