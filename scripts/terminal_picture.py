"""Draws the picture of the terminal in the README, from a real run of the commands there.

``make picture`` runs this, on SmolLM2-135M. A test compares the picture's sentences with what the
commands print.
"""

import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from itertools import groupby
from pathlib import Path

import pyte
from demo import PLACE, ROOT, fetch_smollm2, write_smollm2
from pyte.screens import Char
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from rich.text import Text

PICTURE = ROOT / "docs" / "terminal.svg"
COLUMNS, LINES = 92, 60
COMMANDS = (
    "forgather convert hf_smollm2 fg_smollm2",
    "forgather verify hf_smollm2 fg_smollm2",
)
#: Readable on a light page and on a dark one.
THEME = TerminalTheme(
    background=(30, 33, 39),
    foreground=(215, 218, 224),
    normal=[
        *((60, 64, 72), (224, 108, 117), (152, 195, 121), (229, 192, 123)),
        *((97, 175, 239), (198, 120, 221), (86, 182, 194), (215, 218, 224)),
    ],
)


def main() -> None:
    os.chdir(ROOT)
    PLACE.mkdir(parents=True, exist_ok=True)
    source = PLACE / "hf"
    if not source.is_dir():
        write_smollm2(fetch_smollm2(), source)
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    with tempfile.TemporaryDirectory(dir=PLACE) as directory:
        shutil.copytree(source, Path(directory) / "hf_smollm2")
        for command in COMMANDS:
            stream.feed(f"\x1b[1;32m$\x1b[0m \x1b[1m{command}\x1b[0m\r\n".encode())
            run(command, Path(directory), stream)
            stream.feed(b"\r\n")
    draw(screen, PICTURE)
    print(f"{PICTURE.relative_to(ROOT)} is new.")


def run(command: str, directory: Path, stream: pyte.ByteStream) -> None:
    """Runs a command in a terminal, and lets a screen show what it prints."""
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("4H", LINES, COLUMNS, 0, 0))
    name, *arguments = command.split()
    environment = {key: value for key, value in os.environ.items() if key not in ("CI", "NO_COLOR")}
    process = subprocess.Popen(
        [Path(sys.executable).parent / name, *arguments],
        cwd=directory,
        env={**environment, "TERM": "xterm-256color"},
        stdin=end,
        stdout=end,
        stderr=end,
    )
    os.close(end)
    while True:
        try:
            output = os.read(terminal, 1 << 16)
        except OSError:  # This is how Linux tells that the process has closed its side.
            break
        if not output:
            break
        stream.feed(output)
    os.close(terminal)
    if process.wait():
        print("\n".join(line.rstrip() for line in stream.listener.display))
        sys.exit(f"'{command}' exited with {process.returncode}")


def draw(screen: pyte.Screen, path: Path) -> None:
    """Writes what is on a screen as SVG."""
    shown = [text_of(screen, line) for line in range(screen.lines)]
    while shown and not shown[-1].plain.strip():
        del shown[-1]
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True)
        for line in shown:
            console.print(line, no_wrap=True, highlight=False)
        svg = console.export_svg(title="forgather", theme=THEME, unique_id="terminal")
    path.write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n")


def text_of(screen: pyte.Screen, line: int) -> Text:
    """A line of a screen with its colours."""
    text = Text()
    characters = [screen.buffer[line][column] for column in range(screen.columns)]
    for style, group in groupby(characters, style_of):
        text.append("".join(character.data for character in group), style)
    text.rstrip()
    return text


def style_of(character: Char) -> Style:
    colour = character.fg.replace("brown", "yellow").replace("bright", "bright_")
    if re.fullmatch("[0-9a-f]{6}", colour):
        colour = f"#{colour}"
    return Style(color=colour, bold=character.bold, italic=character.italics)


if __name__ == "__main__":
    main()
