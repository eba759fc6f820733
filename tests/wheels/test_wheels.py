"""What is built is installed alone, and converts; a vendor's distribution does, too.

``tox run -e wheels`` runs these tests. They are not among the others, because the environment that
they share has a torch and a transformers of its own. They need the dependency group ``build``.

They run in the order of this file, in which the environment grows: the core; then a vendor's wheel
beside it; then the plugins in the place of the vendor's wheel.
"""

import re
import tarfile
from pathlib import Path

import pytest

from support import workspace
from support.wheel_environment import WheelEnvironment
from support.workspace import ROOT, model_types

PLUGINS = workspace.plugins()
DISTRIBUTIONS = (ROOT / "core", *PLUGINS)
#: Those that a model is converted of here, the last beside an extension; the conformance kit
#: converts one of each.
FAMILIES = ("llama", "mistral", "qwen3")
VENDOR = "forgather-convert-acme"
EXTENSION = "forgather-toy"

#: Runs in the new environment: writes tiny models of families into directories of their names.
WRITE_MODELS = """
import sys
import torch
import transformers

for family in sys.argv[1:]:
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
    model.save_pretrained(family, max_shard_size="60KB")
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
    runpy.run_module("forgather_convert", run_name="__main__")
except SystemExit as stop:
    assert not stop.code, stop.code
heavy = {"torch", "transformers", "safetensors"} & set(sys.modules)
assert not heavy, f"--help imports {heavy}"
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> WheelEnvironment:
    """All distributions are built; nothing is installed."""
    wheels = WheelEnvironment(tmp_path_factory.mktemp("wheels"))
    wheels.build_all(DISTRIBUTIONS)
    return wheels


@pytest.fixture(scope="module")
def core(built: WheelEnvironment) -> WheelEnvironment:
    """The core is installed, and nothing else that is ours; there are models to convert."""
    built.create()
    built.pip("install", *built.wheels("forgather_convert-"))
    built.python("-c", WRITE_MODELS, *FAMILIES, cwd=built.work)
    return built


@pytest.fixture(scope="module")
def vendor(core: WheelEnvironment) -> WheelEnvironment:
    """A distribution is made as a vendor makes one, and its wheel is installed."""
    (wheel,) = core.wheels("forgather_convert-")
    core.pip("install", f"{wheel}[testing]")
    core.forgather(
        *("converters", "new", "acme"),
        *("--model-type", "llama", "--hf-class", "LlamaForCausalLM"),
    )
    core.build([core.elsewhere / VENDOR])
    core.pip("install", *core.wheels("forgather_convert_acme"))
    return core


@pytest.fixture(scope="module")
def plugins(core: WheelEnvironment) -> WheelEnvironment:
    """The plugins are installed; the vendor's wheel, which is for Llama too, is not."""
    core.pip("uninstall", "--yes", VENDOR)
    prefixes = [f"{package(directory).name}-" for directory in PLUGINS]
    core.pip("install", *(wheel for prefix in prefixes for wheel in core.wheels(prefix)))
    return core


@pytest.fixture(scope="module")
def extension(plugins: WheelEnvironment) -> WheelEnvironment:
    """A wheel of an extension is installed beside the plugins."""
    plugins.build(["tests/extension"])
    plugins.pip("install", *plugins.wheels("forgather_toy"))
    return plugins


def package(directory: Path) -> Path:
    """The directory of a distribution's package."""
    (path,) = directory.glob("src/forgather_convert*")
    return path


def round_trip(wheels: WheelEnvironment, family: str, name: str) -> None:
    """Converts a model in a round trip; every file is as it was."""
    source = wheels.work / family
    there, back = (wheels.work / f"{name}-{side}" for side in ("fg", "back"))
    wheels.forgather("convert", source, there)
    wheels.forgather("convert", there, back)
    wheels.run(["diff", "-r", source, back])


# What is built


def test_one_wheel_for_each_distribution(built: WheelEnvironment) -> None:
    assert len(built.wheels()) == len(DISTRIBUTIONS)


def test_the_core_is_complete(built: WheelEnvironment) -> None:
    sources = ROOT / "core" / "src"
    expected = {
        str(path.relative_to(sources))
        for pattern in ("**/*.py", "**/*.j2", "**/py.typed")
        for path in sources.glob(pattern)
    }
    assert expected - built.names("forgather_convert-") == set()


def test_the_core_holds_nothing_else(built: WheelEnvironment) -> None:
    names = built.names("forgather_convert-")
    ours = ("forgather_convert", "forgather/")
    assert sorted(name for name in names if not name.startswith(ours)) == []
    # Either would shadow an installed forgather.
    assert {"forgather/__init__.py", "forgather/ml/__init__.py"} & names == set()


@pytest.mark.parametrize("directory", PLUGINS, ids=lambda path: path.name)
def test_a_plugin_is_complete(built: WheelEnvironment, directory: Path) -> None:
    """Its components, too, which are files that it gives to core."""
    path = package(directory)
    names = built.names(f"{path.name}-")
    expected = {
        str(file.relative_to(path.parent)) for file in [*path.rglob("*.py"), path / "py.typed"]
    }
    assert expected - names == set()
    assert any(name.endswith("/entry_points.txt") for name in names)


@pytest.mark.parametrize("directory", DISTRIBUTIONS, ids=lambda path: path.name)
def test_a_distribution_has_the_license(built: WheelEnvironment, directory: Path) -> None:
    """The one text of the repository, in the source archive and in the wheel."""
    name = package(directory).name
    (path,) = built.dist.glob(f"{name}-*.tar.gz")
    with tarfile.open(path) as archive:
        (member,) = [found for found in archive.getmembers() if found.name.endswith("/LICENSE")]
        content = archive.extractfile(member)
        assert content is not None
        assert content.read() == (ROOT / "LICENSE").read_bytes()
    assert any(file.endswith("/licenses/LICENSE") for file in built.names(f"{name}-"))


# The core alone


def test_the_core_installs_alone(core: WheelEnvironment) -> None:
    core.pip("check")


def test_without_a_plugin_an_error_says_so(core: WheelEnvironment) -> None:
    destination = core.work / "none"
    result = core.forgather("convert", core.work / "llama", destination, fails=True)
    assert result.returncode == 1
    assert "No converter registered for model type 'llama'" in result.stderr
    assert not destination.exists()


def test_the_advice_of_the_error_works_with_a_directory_of_wheels(core: WheelEnvironment) -> None:
    """With no index, so that nothing else can have been installed."""
    source, destination = core.work / "mistral", core.work / "advised"
    error = core.forgather("convert", source, destination, fails=True).stderr
    advice = re.search(
        r"'pip (install [\w-]+)', with '(--find-links) DIR'", " ".join(error.split())
    )
    assert advice, error
    core.pip(*advice[1].split(), "--no-index", advice[2], core.dist)
    core.forgather("convert", source, destination)
    core.pip("uninstall", "--yes", "forgather-convert-mistral")


def test_the_import_path_of_converters(core: WheelEnvironment) -> None:
    core.python("-c", IMPORT_ALIAS)


# A vendor's distribution, beside the core


def test_a_vendors_wheel_installs(vendor: WheelEnvironment) -> None:
    vendor.pip("check")


def test_a_vendors_wheel_is_listed(vendor: WheelEnvironment) -> None:
    assert VENDOR in vendor.forgather("converters", "list").stdout


def test_a_vendors_own_tests_pass_unmodified(vendor: WheelEnvironment) -> None:
    # The other configs are those of Llama, which the same tests convert elsewhere.
    only = ("-k", "plain or nothing_of_this_project")
    result = vendor.python("-m", "pytest", "-q", *only, cwd=vendor.elsewhere / VENDOR)
    assert " passed" in result.stdout


def test_a_model_converts_with_a_vendors_wheel_without_a_flag(vendor: WheelEnvironment) -> None:
    round_trip(vendor, "llama", "vendor")


# The plugins


def test_the_plugins_install(plugins: WheelEnvironment) -> None:
    plugins.pip("check")


@pytest.mark.parametrize("arguments", [[], ["convert"]], ids=["forgather", "convert"])
def test_help_imports_no_large_library(plugins: WheelEnvironment, arguments: list[str]) -> None:
    plugins.python("-c", HELP_IMPORTS, *arguments)
    assert "Usage: forgather" in plugins.forgather(*arguments, "--help").stdout


def test_help_lists_the_families(plugins: WheelEnvironment) -> None:
    words = " ".join(plugins.forgather("convert", "--help").stdout.split())
    assert f"Installed converters: {', '.join(model_types())}." in words


@pytest.mark.parametrize("family", FAMILIES[:-1])
def test_a_model_converts_and_comes_back(plugins: WheelEnvironment, family: str) -> None:
    round_trip(plugins, family, family)


# An extension


def test_an_extension_is_listed(extension: WheelEnvironment) -> None:
    assert EXTENSION in extension.forgather("converters", "list").stdout


def test_an_extension_adds_a_command(extension: WheelEnvironment) -> None:
    assert extension.forgather("toy").stdout == "toy says hello\n"


def test_an_extension_changes_a_family_that_it_does_not_know(extension: WheelEnvironment) -> None:
    """The norm is exchanged, the logits are equal, and the reverse conversion is exact."""
    round_trip(extension, FAMILIES[-1], "extended")
    assert list((extension.work / "extended-fg").glob("toy_norm_*.py"))


def test_an_extension_can_be_switched_off(extension: WheelEnvironment) -> None:
    listed = extension.forgather("converters", "list", "--no-plugins").stdout
    (line,) = [line for line in listed.splitlines() if EXTENSION in line and "1.0" in line]
    assert line.endswith("disabled")
