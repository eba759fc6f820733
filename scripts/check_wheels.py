"""Builds the four distributions, installs them alone, and converts with what was installed.

Usage: python scripts/check_wheels.py [WORK_DIRECTORY]

It needs the packages of the dependency group ``build``. ``tox run -e wheels`` runs it.
"""

import argparse
import filecmp
import shutil
import sys
import tarfile
import tempfile
from functools import partial
from pathlib import Path

from wheel_environment import ROOT, CheckError, WheelEnvironment, run_steps

CORE = "core"
PLUGINS = ("plugins/llama", "plugins/mistral", "plugins/qwen3")
FAMILIES = ("llama", "mistral", "qwen3")

#: Runs in the new environment: writes a tiny model of a family.
WRITE_MODEL = """
import sys
import torch
import transformers

family, directory = sys.argv[1:]
name = {"llama": "Llama", "mistral": "Mistral", "qwen3": "Qwen3"}[family]
torch.manual_seed(0)
config = getattr(transformers, f"{name}Config")(
    vocab_size=128, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=2, head_dim=16, max_position_embeddings=64,
    pad_token_id=0, bos_token_id=1, eos_token_id=2, dtype="bfloat16",
)
model = getattr(transformers, f"{name}ForCausalLM")(config).to(torch.bfloat16)
for parameter in model.parameters():
    torch.nn.init.normal_(parameter, mean=float(parameter.dim() == 1), std=0.3)
model.save_pretrained(directory, max_shard_size="60KB")
"""

#: Runs in the new environment: the import path that converters use.
IMPORT_ALIAS = """
import forgather
from forgather.ml.model_conversion import HFConverter, register_converter
import forgather_convert

assert HFConverter is forgather_convert.HFConverter
assert register_converter is forgather_convert.register_converter
assert getattr(forgather, "__file__", None) is None, "'forgather' must be a namespace"
"""

#: Runs in the new environment: what the command line imports to show its help.
HELP_IMPORTS = """
import runpy
import sys

sys.argv = ["forgather", *sys.argv[1:], "--help"]
try:
    runpy.run_module("forgather_convert.cli.main", run_name="__main__")
except SystemExit as stop:
    assert not stop.code, stop.code
heavy = {"torch", "transformers", "safetensors"} & set(sys.modules)
assert not heavy, f"--help imports {heavy}"
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", nargs="?", type=Path, help="where to work; it is emptied")
    arguments = parser.parse_args()
    if arguments.directory is None:
        with tempfile.TemporaryDirectory() as directory:
            sys.exit(run_checks(Path(directory)))
    work = arguments.directory.resolve() / "wheels"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    sys.exit(run_checks(work))


def run_checks(work: Path) -> int:
    """Runs every check, prints a line for each, and gives the exit code."""
    checks = Checks(work)
    steps = [
        ("the four distributions build", checks.build_all),
        ("the wheels contain what they must", checks.check_contents),
        ("the core installs alone", checks.install_core),
        ("without a plugin, an error says so", checks.check_without_plugins),
        ("the plugins install", checks.install_plugins),
        ("forgather --help imports none of torch, transformers, safetensors", checks.check_help),
        ("forgather.ml.model_conversion imports", checks.check_alias),
        *(
            (f"a {family} model converts and comes back", partial(checks.round_trip, family))
            for family in FAMILIES
        ),
    ]
    return run_steps(steps, (checks.build_all, checks.install_core, checks.install_plugins))


class Checks(WheelEnvironment):
    """The checks, in the order in which they build on each other."""

    def build_all(self) -> None:
        self.build((CORE, *PLUGINS))
        if len(self.wheels()) != 4:
            raise CheckError(f"expected four wheels, found {self.wheels()}")

    def check_contents(self) -> None:
        core = self.names("forgather_convert-")
        sources = ROOT / "core" / "src"
        expected = {
            str(path.relative_to(sources))
            for pattern in ("**/*.py", "**/*.j2", "**/py.typed")
            for path in sources.glob(pattern)
        }
        self._expect("core", core, expected)
        namespace = {"forgather/__init__.py", "forgather/ml/__init__.py"} & core
        if namespace:
            raise CheckError(f"the core would shadow an installed forgather: {namespace}")
        strays = {name for name in core if not name.startswith(("forgather_convert", "forgather/"))}
        if strays:
            raise CheckError(f"the core holds what it should not: {sorted(strays)}")
        for family in FAMILIES:
            package = f"forgather_convert_{family}"
            names = self.names(package)
            self._expect(family, names, {f"{package}/__init__.py", f"{package}/py.typed"})
            if not any(name.endswith("/entry_points.txt") for name in names):
                raise CheckError(f"the {family} plugin has no entry points")
        for archive in self.dist.glob("*.tar.gz"):
            with tarfile.open(archive) as file:
                if not any(name.endswith("/LICENSE") for name in file.getnames()):
                    raise CheckError(f"{archive.name} has no LICENSE")

    def install_core(self) -> None:
        self.create()
        self.pip("install", *self.wheels("forgather_convert-"))
        self.pip("check")
        for family in FAMILIES:
            self.python("-c", WRITE_MODEL, family, self.work / family)

    def check_without_plugins(self) -> None:
        result = self.forgather("convert", self.work / "llama", self.work / "none", fails=True)
        message = "No converter registered for model type 'llama'"
        if result.returncode != 1 or message not in result.stderr:
            raise CheckError(f"exit code {result.returncode}, and on stderr:\n{result.stderr}")
        if (self.work / "none").exists():
            raise CheckError("a destination appeared")

    def install_plugins(self) -> None:
        wheels = [
            wheel for family in FAMILIES for wheel in self.wheels(f"forgather_convert_{family}")
        ]
        self.pip("install", *wheels)
        self.pip("check")

    def check_help(self) -> None:
        for arguments in ([], ["convert"]):
            self.python("-c", HELP_IMPORTS, *arguments)
            output = self.forgather(*arguments, "--help").stdout
            if "Usage: forgather" not in output:
                raise CheckError(f"forgather --help prints:\n{output}")
        if "{llama,mistral,qwen3}" not in self.forgather("convert", "--help").stdout:
            raise CheckError("forgather convert --help does not list the three families")

    def check_alias(self) -> None:
        self.python("-c", IMPORT_ALIAS)

    def round_trip(self, family: str) -> None:
        source, there, back = (self.work / f"{family}{end}" for end in ("", "-fg", "-back"))
        self.forgather("convert", source, there)
        self.forgather("convert", there, back)
        names = sorted({path.name for root in (source, back) for path in root.iterdir()})
        _, mismatched, missing = filecmp.cmpfiles(source, back, names, shallow=False)
        if mismatched or missing:
            raise CheckError(f"these files are not the same: {', '.join(mismatched + missing)}")

    def _expect(self, what: str, names: set[str], expected: set[str]) -> None:
        missing = sorted(expected - names)
        if missing:
            raise CheckError(f"the {what} wheel lacks {', '.join(missing)}")


if __name__ == "__main__":
    main()
