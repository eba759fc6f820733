"""Nothing from a source reaches the terminal as something that the terminal obeys."""

import ast
import io
import json
import logging
import re
import struct
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

import forgather_convert.cli
from forgather_convert.cli.console import echo_usage_error, set_up_logging
from forgather_convert.cli.main import forgather as command
from forgather_convert.errors import SourceError
from forgather_convert.files.plain_text import indented, is_plain, one_line, printable
from support.command import forgather
from support.converting import edit_config
from support.models import write_hf_model
from support.refusals import LLAMA
from support.tokenizers import write_byte_level_bpe

pytestmark = pytest.mark.version_independent

EVIL = "\x1b[2J\x07\r\x9b31m\u202e\x7f"
SHOWN = r"\x1b[2J\x07\r\x9b31m\u202e\x7f"
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_hf_model(tmp_path / "hf", LLAMA, dtype="bfloat16")


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_texts() -> None:
    assert printable(f"a{EVIL}\n\tb") == f"a{SHOWN}\n\tb"
    assert one_line(f"a{EVIL}\n\tb") == f"a{SHOWN}\\n\\tb"
    assert printable("\ud800") == "\\ud800"
    assert printable("Größe 東京 👩\u200d🔬 \u00a0") == "Größe 東京 👩\u200d🔬 \u00a0"
    assert [is_plain(name) for name in ("name", "na\nme", EVIL)] == [True, False, False]
    assert indented("one\ntwo\n  three") == "one\n  two\n  three"


def test_error_about_a_config_value(source: Path) -> None:
    edit_config(source, model_type=f"x{EVIL}\nERROR: all is well")
    for level in ("INFO", "DEBUG"):
        ended = forgather("convert", source, source.with_name("out"), "--log-level", level)
        assert ended.returncode == 1
        assert not OBEYED.search(ended.stdout + ended.stderr)
        assert SHOWN in ended.stderr
        assert not re.search(r"^ERROR: all is well", ended.stderr, re.MULTILINE)


def test_error_about_tensor_names(source: Path) -> None:
    weights = source / "model.safetensors"
    data = weights.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header[f"odd{EVIL}\nname"] = header.pop("model.norm.weight")
    raw = json.dumps(header).encode()
    weights.write_bytes(struct.pack("<Q", len(raw)) + raw + data[8 + length :])
    ended = forgather("convert", source, source.with_name("out"), "--debug-params")
    assert ended.returncode == 1
    assert f"odd{SHOWN}\\nname" in ended.stderr
    assert not OBEYED.search(ended.stdout + ended.stderr)


def test_tokens_in_a_plan_and_in_its_table(source: Path, tmp_path: Path) -> None:
    write_byte_level_bpe(source)
    tokens = tmp_path / "tokens.yaml"
    tokens.write_text(json.dumps({"special_tokens": [f"<odd{EVIL}\nline>"]}))
    result = invoke("convert", "--dry-run", "--add-tokens", tokens, source, tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert f"token=<odd{SHOWN}\\nline>" in result.output
    assert not OBEYED.search(result.output)
    result = invoke(
        "convert", "--dry-run", "--json", "--add-tokens", tokens, source, tmp_path / "out"
    )
    content = json.loads(result.stdout)
    assert content["vocabulary"]["tokens"][0]["token"] == f"<odd{EVIL}\nline>"
    assert not OBEYED.search(result.stdout)


def test_wrong_usage() -> None:
    ended = forgather("convert", "a", "b", "--dtype", f"x{EVIL}")
    assert ended.returncode == 2
    assert "Usage:" in ended.stderr
    assert not OBEYED.search(ended.stderr)


def test_errors_of_click(capsys: pytest.CaptureFixture[str]) -> None:
    echo_usage_error(click.ClickException(f"no {EVIL}"))
    # click takes out by itself what it knows as a colour or a movement.
    assert capsys.readouterr().err == "Error: no " + SHOWN.removeprefix(r"\x1b[2J") + "\n"


@pytest.mark.parametrize("name", ["forgather_convert.some.module", "transformers.some_module"])
def test_log_messages_of_any_library(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("INFO")
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger(name)
    logger.addHandler(handler)
    try:
        logger.error("%s holds %d of %s", Path(f"a{EVIL}\nERROR: b"), 3, ValueError("x\ny\x1b"))
        logger.error("%s", SourceError("first\nsecond"))
    finally:
        logger.removeHandler(handler)
    text = stream.getvalue() + capsys.readouterr().err
    assert f"a{SHOWN}\\nERROR: b holds 3 of x\\ny\\x1b" in text
    assert not OBEYED.search(text)
    if name.startswith("forgather"):
        assert "ERROR: first\n  second\n" in text


def test_converter_in_a_directory_with_an_odd_name(tmp_path: Path) -> None:
    path = tmp_path / f"odd{EVIL}" / "odd_converter.py"
    path.parent.mkdir()
    path.write_text("@register_converter('o\\x1bdd')\nclass C: 0\n")
    for arguments in (["list"], ["list", "--json"]):
        result = invoke("converters", *arguments, "--converter-path", path.parent)
        assert "odd" in result.output
        assert not OBEYED.search(result.output)


def _calls(tree: ast.AST) -> set[str]:
    return {
        ast.unparse(node.func)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name)
    }


def test_there_is_one_way_to_the_terminal() -> None:
    """What prints past it would print what it is given."""
    directory = Path(forgather_convert.cli.__path__[0])
    outside: dict[str, Any] = {}
    for path in directory.glob("*.py"):
        if path.name in ("console.py", "tables.py"):
            continue
        calls = _calls(ast.parse(path.read_text(encoding="utf-8")))
        outside[path.name] = calls & {"print", "click.echo", "click.secho", "sys.stdout.write"}
    assert not any(outside.values()), outside
