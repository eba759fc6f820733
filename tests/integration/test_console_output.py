"""What the user of ``forgather convert`` sees: messages, help, colours, JSON, plans."""

import importlib.metadata
import io
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors import safe_open

from forgather_convert import convert
from forgather_convert.cli.convert import OPTION_GROUPS, convert_command
from forgather_convert.cli.main import forgather as group
from forgather_convert.cli.main import main
from forgather_convert.cli.phases import PhaseLines
from forgather_convert.progress import Phase
from forgather_convert.quantities import describe_size
from support.command import forgather, forgather_copy, forgather_process, run_convert
from support.directories import snapshot
from support.models import random_state, write_hf_model
from support.processes import ProcessCopy
from support.variants import Variant, variant

pytestmark = pytest.mark.version_independent

LLAMA = variant("llama-default")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_hf_model(tmp_path / "hf", LLAMA, dtype="bfloat16")


@pytest.fixture(scope="module")
def forgather_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Forgather model to convert from; its source is beside it. Not to be changed."""
    root = tmp_path_factory.mktemp("models")
    convert(write_hf_model(root / "hf", LLAMA, dtype="bfloat16"), root / "fg")
    return root / "fg"


def without_seconds(text: str) -> str:
    return re.sub(r"in [\d.]+ s, with", "in N s, with", text)


def closing_line(result: Path, family: str, source: Path) -> str:
    """What was written, how much, by what, from what, and what is known of it."""
    sizes = [path.stat().st_size for path in result.iterdir()]
    version = importlib.metadata.version(f"forgather-convert-{family}")
    return (
        f"Wrote {len(sizes)} files, {describe_size(sum(sizes))}, in N s, with "
        f"{family.title()} (forgather-convert-{family} {version}), from the weights in "
        f"{source}. Verified on 5 runs over 51 positions: logits bit-identical to the source's. "
        "Configs agree."
    )


#: What was compared; whose code it was comes after it.
COMPARED = (
    "Logits are identical over 51 positions",
    "Compared on the prompt (32 tokens) and 2 cached steps, 1 token, 2 tokens, 11 tokens, a batch "
    "of 2 with left padding",
)


def test_console_lines_to_forgather(source: Path, tmp_path: Path) -> None:
    """The lines of the specification, in its order, on stderr; stdout is for data."""
    result = forgather_process("convert", source, tmp_path / "fg")
    assert without_seconds(result.stderr).splitlines() == [
        "Auto-detected HuggingFace model (type: llama)",
        "Auto-detected dtype from source model: bfloat16",
        "Converting HuggingFace model to Forgather format",
        *COMPARED,
        "Code run for the source: LlamaForCausalLM of transformers; for the result: its "
        "generated code",
        f"Conversion complete: {tmp_path / 'fg'}",
        closing_line(tmp_path / "fg", "llama", source),
    ]
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("run", "family", "name"),
    [(forgather_process, "llama", "Llama"), (forgather_copy, "qwen3", "Qwen3")],
    ids=["llama", "qwen3"],
)
def test_console_lines_to_hugging_face(
    run: Callable[..., subprocess.CompletedProcess[str]], family: str, name: str, tmp_path: Path
) -> None:
    plain = Variant(family, "plain")
    convert(write_hf_model(tmp_path / "hf", plain, dtype="float32"), tmp_path / "fg")
    result = run("convert", tmp_path / "fg", tmp_path / "back")
    assert without_seconds(result.stderr).splitlines() == [
        f"Auto-detected Forgather model (original type: {family})",
        "Auto-detected dtype from source model: float32",
        f"Using the weights of {tmp_path / 'fg'} itself; it has no checkpoint-N",
        f"Converting Forgather model to HuggingFace {name}",
        *COMPARED,
        f"Code run for the source: its own code; for the result: {name}ForCausalLM of transformers",
        f"Conversion complete: {tmp_path / 'back'}",
        closing_line(tmp_path / "back", family, tmp_path / "fg"),
    ]
    assert result.stdout == ""


def test_help_names_every_option_of_the_specification() -> None:
    text = forgather("convert", "--help", FORGATHER_CONVERTERS="forgather-convert-smollm").stdout
    for option in (
        "--reverse",
        "--model-type {smollm3}",
        "--dtype {bfloat16,float32,float16}",
        "--max-length LENGTH",
        "-c, --checkpoint-path",
        "--add-tokens",
        "--skip-default-tokens",
        "--device",
        "-g, --generation-test",
        "--prompt",
        "--debug-params",
        "-t, --chat-template-path",
        "--converter-path",
        "--dry-run",
        "--log-level",
        "--format",
        "--max-shard-size",
        "--overwrite",
        "--no-logit-check",
        "--json",
    ):
        assert option in text


def test_help_stands_in_groups() -> None:
    """The headings of the documentation, with the same options."""
    page = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text()
    text = forgather("convert", "--help", COLUMNS="80").stdout
    assert all(len(line) <= 80 for line in text.splitlines())
    for title, names in OPTION_GROUPS.items():
        (section,) = re.findall(rf"^### {title}\n(.*?)^##", page, re.MULTILINE | re.DOTALL)
        documented = {
            re.findall(r"`(--[\w-]+)", row)[0] for row in re.findall(r"^\| `.*", section, re.M)
        }
        assert documented == set(names), title
        assert f"\n{title}:\n" in text
    assert sum(OPTION_GROUPS.values(), ()).count("--reverse") == 1
    options = {parameter.opts[-1] for parameter in convert_command.params}
    assert set(sum(OPTION_GROUPS.values(), ())) == options - {"source_path", "destination_path"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("convert --model-type qwen", "plain,qwen3"),
        ("convert --converter forgather-convert-mis", "plain,forgather-convert-mistral"),
        ("convert MODEL -c ", "plain,checkpoint-20\nplain,checkpoint-3"),
        ("converters show lla", "plain,llama"),
        ("convert ./", "dir,./"),
    ],
)
def test_completion(words: str, expected: str, tmp_path: Path) -> None:
    for number in (3, 20):
        (tmp_path / f"checkpoint-{number}").mkdir()
    words = "forgather " + words.replace("MODEL", str(tmp_path))
    count = len(words.split(" ")) - 1
    variables = {"COMP_WORDS": words, "COMP_CWORD": str(count)}
    found = forgather(_FORGATHER_COMPLETE="bash_complete", **variables).stdout
    assert expected in found


def on_terminal(*arguments: str | Path, **environment: str) -> str:
    """What ``forgather`` prints to stderr if that is a terminal."""
    terminal, connection = pty.openpty()

    def run() -> None:
        for name in {"CI", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"} - environment.keys():
            os.environ.pop(name, None)
        sys.argv = ["forgather", *map(str, arguments)]
        main()

    variables = {"TERM": "xterm-256color", "COLUMNS": "200", **environment}
    with ProcessCopy(run, variables, stderr=connection):
        os.close(connection)
        printed = b""
        try:
            while chunk := os.read(terminal, 4096):
                printed += chunk
        except OSError:  # the other end is closed
            pass
    os.close(terminal)
    return printed.decode()


def test_terminal_has_colours_unless_they_are_not_wanted(tmp_path: Path) -> None:
    """See no-color.org: any value that is not empty counts."""
    colour = re.compile("\x1b\\[[0-9;]*3[0-7]m")
    arguments = ("convert", tmp_path / "nowhere", tmp_path / "out")
    plain = on_terminal(*arguments, NO_COLOR="1")
    assert "does not exist" in plain
    assert not colour.search(plain)
    assert colour.search(on_terminal(*arguments))


PHASES = ("read", "plan", "write", "check", "commit")


def screen(printed: str) -> list[str]:
    """The lines that are left on a terminal: a cursor that goes up writes over them."""
    lines, row = [""], 0
    for part in re.split(r"(\r\n|\r|\x1b\[1A|\x1b\[2K|\x1b\[[\d;?]*[a-zA-Z])", printed):
        if part == "\r\n":
            row += 1
        elif part == "\x1b[1A":
            row -= 1
        elif part == "\x1b[2K":
            lines[row] = ""
        elif not part.startswith(("\r", "\x1b")):
            lines += [""] * (row + 1 - len(lines))
            lines[row] += part
    return [line.rstrip() for line in lines]


def test_phases_on_a_terminal_and_not_in_a_pipe(source: Path, tmp_path: Path) -> None:
    """Every line of a pipe is whole on the terminal, and the phases have ended below them."""
    printed = on_terminal("convert", source, tmp_path / "fg", COLUMNS="500")
    found = screen(printed)
    in_pipe = forgather("convert", "--overwrite", source, tmp_path / "fg").stderr
    assert "\x1b" not in in_pipe
    assert "\r" not in in_pipe
    phases = [line for line in found if line.startswith("✓")]
    assert without_seconds("\n".join(line for line in found if line and line not in phases)) == (
        without_seconds(in_pipe).strip()
    )
    assert [line.split()[1] for line in phases] == list(PHASES)
    assert all("100 % of" in line for line in phases[2:])
    # Before the imports that take seconds, and before the first message.
    assert 0 < printed.index("read") < printed.index("plan") < printed.index("Converting")


def test_generated_text_is_shown_below_the_phases_while_it_grows() -> None:
    stream = io.StringIO()

    def lines() -> list[str]:
        return screen(stream.getvalue().replace("\n", "\r\n"))

    console = Console(file=stream, force_terminal=True, width=80, _environ={"TERM": "xterm"})
    with PhaseLines(console) as phases:
        phases.start(Phase.GENERATE)
        phases.generated("result", "The old\x1b[2J", 12.34)
        phases.generated("result", "The old\x1b[2J bridge", 12.34)
        assert lines()[1] == r"result, 12.3 tokens/s: The old\x1b[2J bridge"
    assert "result" not in "".join(lines())
    assert lines()[0].startswith("✓ generate")


def test_a_phase_shows_the_time_and_the_rate_of_work_begun_earlier() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80, _environ={"TERM": "xterm"})
    with PhaseLines(console) as phases:
        phases.start(Phase.WRITE, 10_000_000)
        phases.advance(10_000_000)
        phases.head_start(20.0)
    (line,) = [line for line in screen(stream.getvalue().replace("\n", "\r\n")) if line]
    assert re.search(r"100 % of 10.0 MB +(499|500)\.\d kB/s +20\.\d s$", line), line


def test_phases_of_verify(source: Path, tmp_path: Path) -> None:
    printed = screen(on_terminal("verify", "--no-logit-check", source, source, COLUMNS="80"))
    assert [line.split()[1] for line in printed if line.startswith("✓")] == ["read", "compare"]
    printed = screen(on_terminal("verify", "-q", "--no-logit-check", source, source))
    assert not "".join(printed)


def test_dtypes_have_short_names(source: Path, tmp_path: Path) -> None:
    for short, name in (("bf16", "bfloat16"), ("fp16", "float16"), ("fp32", "float32")):
        options = ("--dtype", short, "--dry-run", "--json")
        content = json.loads(run_convert(*options, source, tmp_path / "fg").stdout)
        assert content["dtype"] == name
    refused = forgather("convert", "--dtype", "int8", source, tmp_path / "fg")
    assert refused.returncode == 2
    assert "'bfloat16', 'float32', 'float16'" in refused.stderr


def test_version_names_this_tool() -> None:
    version = importlib.metadata.version("forgather-convert")
    assert forgather("--version").stdout == f"forgather-convert {version}\n"


@pytest.mark.parametrize("command", ["convert", "inspect", "verify"])
def test_help_ends_with_examples_that_can_be_parsed(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = "https://example.org/docs"
    monkeypatch.setattr("forgather_convert.cli.help.documentation_url", lambda: address)
    text = forgather(command, "--help").stdout
    _, _, end = text.partition("\nExamples:\n")
    *examples, last = filter(None, end.splitlines())
    assert last == f"Documentation: {address}"
    for example in examples:
        words = example.split()
        assert words[:2] == ["forgather", command]
        group.commands[command].make_context(command, words[2:])
    assert f"Documentation: {address}" in forgather("--help").stdout


def test_narrow_terminal_breaks_lines_between_words(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "a-name-that-is-longer-than-a-line-of-the-terminal"
    found = screen(on_terminal("convert", "--dtype", "float16", source, target, COLUMNS="48"))
    text = " ".join(" ".join(found).split())
    for name in (str(target), str(source), "forgather-convert-llama", "Llama (", "float16"):
        assert name in text
    assert all(len(line) <= 48 or str(tmp_path) in line for line in found)


def test_no_line_is_drawn_again_in_a_build(source: Path, tmp_path: Path) -> None:
    refused = ("convert", source, tmp_path)
    assert "\x1b[2K" in on_terminal(*refused)
    for variable in ({"CI": "true"}, {"TERM": "dumb"}):
        assert "\x1b[2K" not in on_terminal(*refused, **variable)
    assert "\x1b[2K" not in on_terminal(*refused, "-q")


def test_debug_params_prints_the_names_also_where_all_else_is_quiet(
    source: Path, tmp_path: Path
) -> None:
    arguments = ("--debug-params", "--no-logit-check", source)
    loud = run_convert(*arguments, tmp_path / "loud").stderr.splitlines()
    quiet = run_convert("-q", *arguments, tmp_path / "quiet").stderr.splitlines()
    assert any("lm_head.weight" in line for line in quiet)
    assert quiet == [line for line in loud if " -> " in line]


def test_debug_params_prints_the_names_of_both_sides(source: Path, tmp_path: Path) -> None:
    """In both directions; every parameter has its line."""
    there = run_convert("--debug-params", "--no-logit-check", source, tmp_path / "fg").stderr
    back = run_convert(
        "--debug-params", "--no-logit-check", tmp_path / "fg", tmp_path / "back"
    ).stderr
    for name in random_state(LLAMA, torch.bfloat16):
        assert name in there
        assert name in back
    for layer in range(3):
        hf = f"model.layers.{layer}.self_attn.q_proj.weight"
        fg = f"causal_lm.layer_stack.layers.{layer}.attention.query_linear.weight"
        assert re.search(rf"{re.escape(hf)} .*-> {re.escape(fg)}", there)
        assert re.search(rf"{re.escape(fg)} .*-> {re.escape(hf)}", back)


def test_errors_as_json(source: Path, tmp_path: Path) -> None:
    """Of every kind, wrong usage too."""
    for arguments, code, kind, message in (
        ([tmp_path / "nowhere", tmp_path / "fg"], 1, "SourceError", "does not exist"),
        ([source], 2, "MissingParameter", "DESTINATION_PATH"),
        ([source, tmp_path / "fg", "--no-such-option"], 2, "NoSuchOption", "--no-such-option"),
    ):
        result = forgather("convert", "--json", *arguments)
        content = json.loads(result.stdout)
        assert result.returncode == code
        assert content["error"]["type"] == kind
        assert message in content["error"]["message"]
        assert message in result.stderr
        assert (content["written"], content["warnings"]) == (None, [])


def test_model_type_that_nothing_can_convert(tmp_path: Path) -> None:
    """The message names all that can be converted, and where their converters are."""
    path = tmp_path / "mine" / "converter.py"
    path.parent.mkdir()
    path.write_text("@register_converter('mine')\nclass Mine: 0\n")
    arguments = ("--model-type", "other", "--converter-path", path.parent, "source", "result")
    result = forgather("convert", *arguments, FORGATHER_ROOT=str(Path(__file__).parents[2]))
    assert result.returncode == 2
    for names in ("'llama'", "(installed)", "'mine' (--converter-path)", "'flex_olmo' (examples)"):
        assert names in result.stderr


def test_log_levels(source: Path, tmp_path: Path) -> None:
    quiet = run_convert("--log-level", "error", "--no-logit-check", source, tmp_path / "quiet")
    assert (quiet.stdout, quiet.stderr) == ("", "")
    assert run_convert("-q", "--no-logit-check", source, tmp_path / "q").stderr == ""
    wrong = forgather("convert", "-q", "-v", source, tmp_path / "both")
    assert wrong.returncode == 2
    assert "--quiet, --verbose and --log-level exclude each other" in wrong.stderr


def test_debug_shows_discovery_mapping_and_loading(source: Path, tmp_path: Path) -> None:
    loud = run_convert("-v", source, tmp_path / "loud").stderr
    for text in (
        "Auto-detected HuggingFace model",
        "has 'llama': ok",
        "Converter for 'llama'",
        "Mapping model.layers.{layer}.mlp.up_proj.weight -> ",
        "Writing lm_head.weight: a copy of lm_head.weight in",
        f"Loading LlamaForCausalLM from {source}",
    ):
        assert text in loud


def test_json_on_stdout_and_logs_on_stderr(source: Path, tmp_path: Path) -> None:
    result = run_convert("--json", source, tmp_path / "fg")
    content = json.loads(result.stdout)
    assert content["direction"] == "to_forgather"
    assert content["model_type"] == "llama"
    assert content["dtype"] == "bfloat16"
    assert content["logits"] == {
        "equal": True,
        "max_difference": 0.0,
        "positions": 51,
        "runs": [
            "the prompt (32 tokens) and 2 cached steps",
            "1 token",
            "2 tokens",
            "11 tokens",
            "a batch of 2 with left padding",
        ],
        "source_code": "LlamaForCausalLM of transformers",
        "result_code": "its generated code",
        "own_code": True,
        "notes": [],
        "tolerance": None,
        "past": [],
        "not_past": [],
        "cast": None,
    }
    assert content["verified"] is True
    assert content["certificate"] == (
        "Verified on 5 runs over 51 positions: logits bit-identical to the source's. Configs agree."
    )
    assert content["configs"]["equal"] is True
    assert content["configs"]["fields"] > 20
    assert content["version"] == importlib.metadata.version("forgather-convert")
    assert content["converter"].startswith("Llama (forgather-convert-llama ")
    assert content["checkpoint"] == str(source)
    assert list(content["seconds"]) == ["read", "plan", "write", "check", "commit"]
    assert [content[name] for name in ("error", "hashes", "generation", "vocabulary")] == [None] * 4
    assert content["elapsed_seconds"] > 0
    assert content["warnings"] == []
    assert content["files"] == sorted(path.name for path in (tmp_path / "fg").iterdir())
    assert "Conversion complete" in result.stderr


def test_dry_run_lists_everything_and_writes_nothing(source: Path, tmp_path: Path) -> None:
    (source / "notes.txt").write_text("mine")
    (source / "other.gguf").write_text("")
    before = snapshot(tmp_path)
    text = run_convert("--dry-run", source, tmp_path / "fg").stdout
    assert snapshot(tmp_path) == before
    assert not (tmp_path / "fg").exists()
    convert(source, tmp_path / "fg")
    for path in (tmp_path / "fg").iterdir():
        assert path.name in text
    with safe_open(tmp_path / "fg" / "model.safetensors", framework="pt") as file:
        for name in file.keys():  # noqa: SIM118
            assert name in text
    assert "leave out other.gguf" in text
    assert "Nothing was written" in text


def test_all_options_together(forgather_model: Path, tmp_path: Path) -> None:
    """Every option reaches the conversion; the plan shows what they do."""
    checkpoint = tmp_path / "elsewhere"
    shutil.copytree(forgather_model, checkpoint)
    result = run_convert(
        *("--reverse", "--model-type", "llama", "--dtype", "float16", "--max-length", "64"),
        *("-c", checkpoint, "--format", "pytorch", "--max-shard-size", "50kB"),
        *("--device", "cpu", "--no-logit-check", "--overwrite", "--log-level", "ERROR"),
        *("--dry-run", "--json", forgather_model, tmp_path / "back"),
    )
    content = json.loads(result.stdout)
    assert content["dtype"] == "float16"
    names = [shard["file"] for shard in content["shards"]]
    count = len(names)
    assert count > 1
    assert names == [
        f"pytorch_model-{number:05d}-of-{count:05d}.bin" for number in range(1, count + 1)
    ]
    tensors = [tensor for shard in content["shards"] for tensor in shard["tensors"]]
    assert {tensor["dtype"] for tensor in tensors} == {"float16"}
    assert all(shard["bytes"] <= 50_000 for shard in content["shards"])
    assert "pytorch_model.bin.index.json" in content["write"]
    assert result.stderr == ""
