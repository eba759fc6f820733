"""Places in which converters are looked for, apart from the real ones."""

from pathlib import Path

import pytest


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of installed packages, beside the real ones."""
    directory = tmp_path / "site"
    directory.mkdir()
    monkeypatch.syspath_prepend(directory)
    return directory


@pytest.fixture
def own_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working tree that is the test's own, and no list of distributions."""
    monkeypatch.setenv("FORGATHER_ROOT", str(tmp_path / "tree"))
    monkeypatch.delenv("FORGATHER_CONVERTERS", raising=False)
