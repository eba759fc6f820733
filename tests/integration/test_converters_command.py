"""``forgather converters``: what it prints, what it imports, what it writes."""

import configparser
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from forgather_convert.discovery.choice import resolve_converter
from support.command import forgather, forgather_process
from support.distributions import CONVERTER, environment, imported, install
from support.workspace import ROOT, plugins, project

pytestmark = pytest.mark.version_independent

VENDORS = ("good", "broken", "exits", "a", "b", "future", "missing")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Packages in every state."""
    directory = tmp_path / "site"
    directory.mkdir()
    install(directory, "vendor-good", "good")
    install(directory, "vendor-broken", "broken", "import a_package_that_is_not_there")
    install(directory, "vendor-exits", "exits", "import os; os._exit(3)")
    install(directory, "vendor-a", "shared")
    install(directory, "vendor-b", "shared", version="2.5")
    install(directory, "vendor-future", "future", requires="forgather-convert>=99")
    install(directory, "vendor-missing", "missing", code=None)
    return directory


@pytest.fixture
def variables(site: Path, tmp_path: Path) -> dict[str, str]:
    return environment(site, FORGATHER_ROOT=str(tmp_path))


def listed(variables: dict[str, str], *arguments: str, code: int = 0) -> dict[str, Any]:
    result = forgather_process("converters", "list", "--json", *arguments, **variables)
    assert result.returncode == code, result.stderr
    return {row["distribution"]: row for row in json.loads(result.stdout)}


def test_list_tells_every_status_and_imports_nothing(site: Path, variables: dict[str, str]) -> None:
    rows = listed(variables)
    assert {name: row["status"] for name, row in rows.items()} == {
        **{project(path)["project"]["name"]: "ok" for path in plugins()},
        "vendor-good": "ok",
        "vendor-broken": "ok",
        "vendor-exits": "ok",
        "vendor-a": "conflict",
        "vendor-b": "conflict",
        "vendor-future": "incompatible",
        "vendor-missing": "missing module",
    }
    assert rows["vendor-b"] == {
        "model_type": "shared",
        "distribution": "vendor-b",
        "version": "2.5",
        "origin": "installed",
        "location": "vendor_b:Converter",
        "status": "conflict",
        "problem": rows["vendor-a"]["problem"],
    }
    assert "--converter vendor-a" in rows["vendor-a"]["problem"]
    assert imported(site) == set()
    allowed = listed({**variables, "FORGATHER_CONVERTERS": "vendor-a"})
    assert [name for name in allowed if allowed[name]["status"] != "disabled"] == ["vendor-a"]
    assert allowed["vendor-a"]["status"] == "ok"
    assert {row["status"] for row in listed(variables, "--no-plugins").values()} == {"disabled"}


def test_list_with_check_imports_each_by_itself(site: Path, variables: dict[str, str]) -> None:
    # A process for each: few of this repository's plugins are enough.
    allowed = ["forgather-convert-llama", *(f"vendor-{name}" for name in VENDORS)]
    rows = listed({**variables, "FORGATHER_CONVERTERS": ",".join(allowed)}, "--check", code=1)
    statuses = {
        name: row["status"]
        for name, row in rows.items()
        if row["status"] not in ("imported", "disabled")
    }
    assert rows["forgather-convert-llama"]["status"] == "imported"
    assert statuses == {
        "vendor-broken": "failed",
        "vendor-exits": "failed",
        "vendor-future": "incompatible",
        "vendor-missing": "missing module",
    }
    assert "a_package_that_is_not_there" in rows["vendor-broken"]["problem"]
    assert "exit code 3" in rows["vendor-exits"]["problem"]
    assert imported(site) == {
        "vendor-good",
        "vendor-broken",
        "vendor-exits",
        "vendor-a",
        "vendor-b",
    }


def test_list_as_text(site: Path, variables: dict[str, str]) -> None:
    result = forgather_process("converters", "list", **variables)
    assert result.stderr == ""
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0] == ["MODEL", "TYPE", "DISTRIBUTION", "VERSION", "ORIGIN", "STATUS"]
    assert ["good", "vendor-good", "1.0", "installed", "ok"] in lines
    assert "vendor-future" in result.stdout
    assert "requires forgather-convert>=99" in result.stdout
    assert "\x1b" not in result.stdout


def test_list_shows_files(tmp_path: Path) -> None:
    directory = tmp_path / "converters"
    directory.mkdir()
    (directory / "converter.py").write_text("@register_converter('x')\nclass X: pass")
    (directory / "other_converter.py").write_text("register_converter(name)(X)")
    (directory / "bad_converter.py").write_text("@register_converter('bad')\ndef (")
    result = forgather("converters", "list", "--json", "--converter-path", directory)
    rows = {row["location"]: row for row in json.loads(result.stdout)}
    row = rows[str(directory / "converter.py")]
    assert (row["model_type"], row["origin"], row["status"]) == ("x", "converter path", "ok")
    assert rows[str(directory / "other_converter.py")]["model_type"] is None
    bad = rows[str(directory / "bad_converter.py")]
    assert (bad["model_type"], bad["status"]) == ("bad", "unreadable")
    assert "not valid Python" in bad["problem"]


@pytest.mark.parametrize("arguments", [["converters", "--help"], ["converters", "list"]])
def test_no_large_library_is_imported(arguments: list[str]) -> None:
    code = (
        "import atexit, sys\n"
        "large = ('torch', 'transformers', 'safetensors', 'forgather_convert_llama')\n"
        "atexit.register(lambda: print([name for name in large if name in sys.modules]))\n"
        "from forgather_convert.cli.main import main\n"
        "main()\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert "list" in result.stdout or "llama" in result.stdout
    assert result.stdout.splitlines()[-1] == "[]"


def test_show() -> None:
    content = json.loads(forgather("converters", "show", "qwen3", "--json").stdout)
    assert content["converter_class"] == "forgather_convert_qwen3.qwen3:Qwen3"
    assert content["hf_model_class"].endswith(":Qwen3ForCausalLM")
    assert content["hf_config_class"].endswith(":Qwen3Config")
    assert content["components"]["attention"] == "qk_norm_attention:QKNormAttention"
    assert content["components"]["norm"] == "rms_norm:RMSNorm"
    # It says what it needs by attributes.
    assert set(content["hooks"].values()) == {False}
    to_forgather = {tuple(row["sources"]): row for row in content["to_forgather"]}
    row = to_forgather[("lm_head.weight",)]
    assert (row["destinations"], row["operation"]) == (["lm_head.weight"], None)
    assert sorted(row["destinations"] for row in content["to_forgather"]) == sorted(
        row["sources"] for row in content["from_forgather"]
    )
    text = forgather("converters", "show", "qwen3").stdout
    for word in (
        "Qwen3ForCausalLM",
        "qk_norm_attention:QKNormAttention",
        "Mapping, Hugging Face to Forgather",
        "Mapping, Forgather to Hugging Face",
        "model.layers.{layer}.self_attn.q_norm.weight",
    ):
        assert word in text


def test_show_says_which_hooks_a_converter_answers() -> None:
    hooks = json.loads(forgather("converters", "show", "smollm3", "--json").stdout)["hooks"]
    assert [name for name, is_own in hooks.items() if is_own] == ["validate_source_config"]


def test_show_without_a_converter() -> None:
    result = forgather("converters", "show", "unheard_of")
    assert result.returncode == 1
    assert "No converter registered for model type 'unheard_of'" in result.stderr
    assert result.stdout == ""


def checked(*arguments: str | Path, code: int, **variables: str) -> dict[str, Any]:
    """The outcome and the detail of each step, by the first words of its name."""
    run = forgather_process if variables else forgather
    result = run("converters", "check", "--json", *arguments, **variables)
    assert result.returncode == code, result.stderr
    (converter,) = json.loads(result.stdout)
    assert converter["ok"] is (code == 0)
    return {step["step"]: (step["outcome"], step["detail"]) for step in converter["steps"]}


def test_check_passes_for_a_family() -> None:
    """With each of its own tiny models."""
    steps = checked("arcee", code=0)
    names = resolve_converter("arcee").get_tiny_configs()
    assert {outcome for outcome, _ in steps.values()} == {"ok"}
    for name in names:
        _, detail = steps[f"a tiny model converts both ways, config '{name}'"]
        assert "identical logits" in detail
        _, detail = steps[f"it computes and trains alike, config '{name}'"]
        assert "identical weights after a step" in detail
    assert len(steps) == 4 + 3 * len(names)


def vendor(body: str) -> str:
    register = "from forgather_convert import STANDARD_WEIGHT_MAPPING, register_converter\n"
    code = CONVERTER.replace("{model_type}", "vendor")
    return register + code.replace("class", "@register_converter('vendor')\nclass", 1) + body


@pytest.mark.parametrize(
    ("body", "step", "words"),
    [
        (
            "    def create_hf_config(self, config, max_length): return None",
            "its hooks",
            ["unknown argument 'config'", "src_config"],
        ),
        (
            "    def get_hf_config_class(self): return 'LlamaConfig'",
            "it names its classes",
            ["get_hf_config_class", "not a class"],
        ),
        (
            "    def get_weight_mapping(self, direction):\n"
            "        is_back = direction == 'from_forgather'\n"
            "        return {'a': 'b'} if is_back else STANDARD_WEIGHT_MAPPING",
            "its mapping is a bijection",
            ["not the inverse"],
        ),
        (
            "    def get_weight_mapping(self, direction):\n        return {'a': 'x', 'b': 'x'}",
            "its mapping is a bijection",
            ["not one to one", "'x'"],
        ),
        (
            "    def get_weight_mapping(self, direction):\n"
            "        mapping = dict(STANDARD_WEIGHT_MAPPING)\n"
            "        del mapping['model.norm.weight']\n"
            "        return mapping",
            "its mapping covers both models, embeddings untied",
            ["model.norm.weight", "causal_lm.layer_stack.layer_norm.weight"],
        ),
        (
            "    def get_weight_mapping(self, direction):\n"
            "        mapping = dict(STANDARD_WEIGHT_MAPPING)\n"
            "        gate, up = (f'model.layers.{{layer}}.mlp.{name}_proj.weight'\n"
            "                    for name in ('gate', 'up'))\n"
            "        mapping[gate], mapping[up] = mapping[up], mapping[gate]\n"
            "        return mapping",
            "a tiny model converts both ways, embeddings untied",
            ["logits are dissimilar"],
        ),
    ],
    ids=["signature", "classes", "direction", "one-to-one", "coverage", "logits"],
)
def test_check_finds(tmp_path: Path, body: str, step: str, words: list[str]) -> None:
    path = tmp_path / "vendor_converter.py"
    path.write_text(vendor(body))
    steps = checked(path, code=1)
    (found,) = [value for name, value in steps.items() if name.startswith(step)]
    assert found[0] == "failed"
    for word in words:
        assert word in found[1]


def test_check_of_a_converter_that_cannot_be_imported(
    site: Path, variables: dict[str, str], tmp_path: Path
) -> None:
    assert checked("broken", code=1, **variables) == {
        "it is imported": (
            "failed",
            "The converter for 'broken' of vendor-broken 1.0 (vendor_broken:Converter) cannot be "
            "imported: ModuleNotFoundError: No module named 'a_package_that_is_not_there'. "
            "Reinstall or upgrade it.",
        )
    }
    (tmp_path / "converter.py").write_text("")
    steps = checked(tmp_path / "converter.py", code=1)
    assert "registers no converter" in steps["it is imported"][1]
    result = forgather("converters", "check", site)
    assert result.returncode == 1
    assert "no converter" in result.stderr


def test_check_as_text_with_a_correct_converter(tmp_path: Path) -> None:
    (tmp_path / "vendor_converter.py").write_text(vendor(""))
    result = forgather("converters", "check", tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("ok  ") == 10
    assert str(tmp_path / "vendor_converter.py") in result.stdout


FILES = {
    ".github/workflows/ci.yml",
    ".gitignore",
    "LICENSE",
    "README.md",
    "pyproject.toml",
    "src/forgather_convert_my_llama/__init__.py",
    "src/forgather_convert_my_llama/my_llama.py",
    "src/forgather_convert_my_llama/py.typed",
    "src/forgather_convert_my_llama/tiny_configs.py",
    "tests/test_conformance.py",
    "tox.ini",
}


@pytest.fixture
def created(tmp_path: Path) -> Path:
    result = forgather(
        *("converters", "new", "my-llama", "--hf-class", "LlamaForCausalLM"),
        *("--directory", tmp_path),
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{tmp_path / 'forgather-convert-my-llama'}\n"
    return tmp_path / "forgather-convert-my-llama"


def test_new_writes_a_distribution(created: Path) -> None:
    files = {str(path.relative_to(created)) for path in created.rglob("*") if path.is_file()}
    assert files == FILES
    project = (created / "pyproject.toml").read_text()
    assert '[project.entry-points."forgather.converters"]' in project
    assert '"my_llama" = "forgather_convert_my_llama.my_llama:MyLlama"' in project
    assert "forgather-convert>=0.1,<1" in project
    text = "".join((created / name).read_text() for name in FILES)
    assert "{%" not in text
    assert "${{ matrix.environment }}" in text


def test_every_environment_of_a_new_distribution_finds_a_local_wheel_of_core(created: Path) -> None:
    """Also in CI, as long as no index has it."""
    config = configparser.ConfigParser(interpolation=None)
    config.read(created / "tox.ini")
    base = config["testenv"]["set_env"]
    assert "PIP_FIND_LINKS = {env:PIP_FIND_LINKS:} wheels" in base
    own = [section.get("set_env", base) for name, section in config.items() if ":" in name]
    assert own
    assert all(text == base or "{[testenv]set_env}" in text for text in own)
    assert 'license-files = ["LICENSE"]' in (created / "pyproject.toml").read_text()


def test_new_refuses(created: Path) -> None:
    again = forgather("converters", "new", "my-llama", "--directory", created.parent)
    assert again.returncode == 1
    assert f"{created} exists" in again.stderr
    for arguments in (["My Model"], ["x", "--model-type", "a/b"], ["x", "--hf-class", "a.b"]):
        result = forgather("converters", "new", *arguments, "--directory", created.parent)
        assert result.returncode == 1
        assert "is not" in result.stderr or "cannot be" in result.stderr
    assert [path.name for path in created.parent.iterdir()] == [created.name]


@pytest.mark.parametrize("name", ["my-model", "a", "3d-like", "class"])
def test_new_names(name: str, tmp_path: Path) -> None:
    """What is derived from a name is valid Python, whatever the name."""
    result = forgather("converters", "new", name, "--directory", tmp_path)
    if name[0].isdigit():
        assert result.returncode == 1
        return
    assert result.returncode == 0, result.stderr
    modules = list(tmp_path.rglob("*.py"))
    assert len(modules) == 4
    for module in modules:
        compile(module.read_text(), str(module), "exec")


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "format", "--check", "."],
        ["ruff", "check", "."],
        ["mypy", "src", "tests"],
    ],
)
def test_new_code_passes_its_own_checks(created: Path, command: list[str]) -> None:
    if importlib.util.find_spec(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    # mypy has just read torch and this package, for which it takes ten seconds.
    variables = {"MYPYPATH": "src", "MYPY_CACHE_DIR": str(ROOT / ".mypy_cache")}
    result = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=created,
        env={**os.environ, **variables, "RUFF_NO_CACHE": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_new_converter_passes_the_check(created: Path) -> None:
    """Beside its metadata, as an installer would put it."""
    site = created / "src"
    install(site, "forgather-convert-my-llama", "my_llama", code=None)
    entry = site / "forgather_convert_my_llama-1.0.dist-info" / "entry_points.txt"
    entry.write_text(entry.read_text().replace(":Converter", ".my_llama:MyLlama"))
    steps = checked("my_llama", code=0, **environment(site))
    assert {outcome for outcome, _ in steps.values()} == {"ok"}
