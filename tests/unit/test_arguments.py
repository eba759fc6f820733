"""No function takes more than five arguments: what travels together is a value."""

import ast
from pathlib import Path

import pytest

from support.workspace import ROOT

pytestmark = pytest.mark.version_independent

MOST = 5
SOURCES = (ROOT / "core/src", *sorted(ROOT.glob("plugins/*/src")))
#: Where others decide on arguments: transformers calls components, click commands; and what helps
#: tests has an option for everything that a test may vary.
DECIDED_ELSEWHERE = ("components", "cli", "testing")
#: Every argument but the first two is optional, and people give them by name.
OPTIONS_OF_USERS = {"save_as_hf"}


def too_many(path: Path) -> list[str]:
    """The functions of a file with too many arguments, apart from ``self`` and ``cls``."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        arguments = node.args
        every = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
        names = [each.arg for each in every if each.arg not in ("self", "cls")]
        if len(names) > MOST and node.name not in OPTIONS_OF_USERS:
            found.append(f"{path}:{node.lineno}: {node.name}({', '.join(names)})")
    return found


def test_functions_take_at_most_five_arguments() -> None:
    paths = [path for source in SOURCES for path in source.rglob("*.py")]
    checked = [path for path in paths if not {*path.parts} & {*DECIDED_ELSEWHERE}]
    found = [line for path in checked for line in too_many(path)]
    assert not found, "Make the arguments that travel together a frozen dataclass:\n" + "\n".join(
        found
    )


def test_a_function_with_six_is_found(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text("class A:\n    def f(self, a, b, c, *, d, e, f): ...\n", encoding="utf-8")
    assert too_many(path) == [f"{path}:2: f(a, b, c, d, e, f)"]
