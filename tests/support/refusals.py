"""What a refusal must be: an error that helps, and not a trace of the attempt."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from forgather_convert import ConvertOptions, ForgatherConvertError, convert, plan
from support.command import forgather
from support.directories import snapshot
from support.models import random_state, write_hf_model
from support.variants import variant

LLAMA = variant("llama-default")
#: Every message says what to do: in a sentence of its own that begins with a verb, as what a value
#: must be, as the choices that there are, or as the one thing that is lacking.
ADVICE = re.compile(
    r"(?:[.:;] |\n *)(?:Add|Check|Choose|Convert|Copy|Create|Delete|Download|Fix|Give|Install|Load"
    r"|Move|Name|Remove|Rename|Replace|Run|Save|Set|Uninstall|Upgrade|Use|Write"
    r"|try 'pip install|[Ii]t must be|it must divide|Known types:)[ ]"
    r"|needs '\w+', which \S+ does not give\.$|needs a tokenizer, but \S+ has none\.$"
)


@contextmanager
def unchanged(root: Path) -> Iterator[None]:
    """Nothing below a directory is added, removed or changed; empty directories count."""
    names, content = sorted(root.rglob("*")), snapshot(root)
    yield
    assert sorted(root.rglob("*")) == names
    assert snapshot(root) == content


def assert_helps(message: str, *words: str | Path) -> None:
    """A message says what is wrong and where, in the given words, and what to do."""
    missing = [str(word) for word in words if str(word) not in message]
    assert not missing, message
    assert ADVICE.search(message), f"It does not say what to do: {message}"


def assert_refused(
    source: Path,
    error: type[ForgatherConvertError],
    *words: str | Path,
    destination: Path | None = None,
    **options: Any,
) -> None:
    """A conversion and a dry run are both refused, and leave everything as it was."""
    root = source.parent
    for attempt in (plan, convert):
        with unchanged(root), pytest.raises(error) as caught:
            attempt(source, destination or root / "out", ConvertOptions(**options))
        assert_helps(str(caught.value), *words)


def assert_command_refuses(
    root: Path, *arguments: str | Path, words: tuple[str | Path, ...]
) -> None:
    """The command reports one error, with exit code 1, and leaves everything as it was."""
    with unchanged(root):
        result = forgather("convert", *arguments)
    assert result.returncode == 1, result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    errors = [line for line in result.stderr.splitlines() if line.startswith("ERROR: ")]
    assert len(errors) == 1, result.stderr
    assert_helps(result.stderr[result.stderr.index("ERROR: ") :], *words)


def write_state(
    directory: Path, change: Callable[[dict[str, torch.Tensor]], None], **fields: Any
) -> Path:
    """A Llama whose weights are changed before they are written."""
    state = random_state(LLAMA, torch.bfloat16)
    change(state)
    config = {**LLAMA.config(), "dtype": "bfloat16", **fields}
    return write_hf_model(directory, LLAMA, state=state, config=config)


def without(name: str) -> Callable[[dict[str, torch.Tensor]], None]:
    """A change that drops a tensor."""

    def drop(state: dict[str, torch.Tensor]) -> None:
        del state[name]

    return drop
