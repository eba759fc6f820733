"""The README's picture of the terminal shows what the commands print.

The numbers are those of another model: ``make picture`` draws it with a real one.
"""

import html
import re
from pathlib import Path

import pytest

from support.command import forgather
from support.models import write_hf_model
from support.tokenizers import write_byte_level_bpe
from support.variants import BASE, Variant
from support.workspace import ROOT

PICTURE = (ROOT / "docs" / "terminal.svg").read_text(encoding="utf-8")


def without_numbers(text: str) -> str:
    """A text on one line, with the same number everywhere."""
    return " ".join(re.sub(r"\b\d[\d.,]*( [kMG]?B)?", "0", text).split())


def test_the_picture_is_current(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spans = re.findall(r'<text [^>]*y="([\d.]+)"[^>]*>(.*?)</text>', PICTURE)
    lines: dict[float, str] = {}
    for height, span in spans:
        text = html.unescape(span).replace("\xa0", " ")
        lines[float(height)] = lines.get(float(height), "") + text
    screen = "\n".join(lines[height] for height in sorted(lines))
    shown = without_numbers(screen)

    llama = Variant("llama", "small", {**BASE, "vocab_size": 400})
    source = write_hf_model(tmp_path / "hf_smollm2", llama, dtype="bfloat16")
    write_byte_level_bpe(source, pad_token="</s>")
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^\$ ?forgather (.+)$", screen, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        result = forgather(*command.split())
        assert result.returncode == 0, result.stderr
        printed = [without_numbers(line) for line in f"{result.stdout}{result.stderr}".splitlines()]
        assert len(printed) > 5
        assert [line for line in printed if line not in shown] == []
