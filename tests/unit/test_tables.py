"""Tables and coloured lines on a terminal."""

import io
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from forgather_convert.cli.converter_reports import (
    converter_object,
    print_converters,
    print_next_steps,
)
from forgather_convert.cli.tables import BAD, GOOD, Labelled, print_labelled, print_line
from forgather_convert.discovery.choice import find_converters
from forgather_convert.discovery.forgather_tree import ROOT_VARIABLE

pytestmark = pytest.mark.version_independent


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal with colours and 60 columns."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    for variable in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(variable, raising=False)
    return Terminal()


def test_what_is_equal_and_what_differs_have_colours(terminal: Terminal) -> None:
    with redirect_stdout(terminal):
        print_labelled([Labelled("Config", "equal", GOOD), Labelled("Logits", "different", BAD)])
        print_line("A and B are different.", BAD)
    assert terminal.getvalue() == (
        "Config  \x1b[32mequal\x1b[0m\n"
        "Logits  \x1b[1;31mdifferent\x1b[0m\n"
        "\x1b[1;31mA and B are different.\x1b[0m\n"
    )


def test_colours_are_left_out_where_they_are_not_wanted(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with redirect_stdout(terminal):
        print_labelled([Labelled("Config", "equal", GOOD)])
    assert "\x1b[32m" not in terminal.getvalue()


def test_all_converters_fit_60_columns(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of this repository, with one line each."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv(ROOT_VARIABLE, str(Path(__file__).parents[2]))
    converters = find_converters()
    with redirect_stdout(terminal):
        print_converters(converter_object(converter, {}) for converter in converters)
    lines = re.sub("\x1b\\[[\\d;]*m", "", terminal.getvalue()).splitlines()
    assert lines[0].split() == ["MODEL", "TYPE", "DISTRIBUTION", "STATUS"]
    assert len(lines) == 1 + len(converters)
    assert max(map(len, lines)) <= 60
    assert any(line.startswith("flex_olmo") and line.rstrip().endswith("ok") for line in lines)


def test_next_steps_are_messages(capsys: pytest.CaptureFixture[str]) -> None:
    print_next_steps(Path("forgather-convert-x"), "x")
    out, err = capsys.readouterr()
    assert out == ""
    assert "forgather converters check x" in err
