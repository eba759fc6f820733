"""The options that say on which versions of transformers which tests run."""

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--versions",
        metavar="MINOR,...",
        help="run the smoke tests on these minor versions of transformers, as '5.0,5.3', or on "
        "'all' that are supported; each is installed beside the others",
    )
    parser.addoption(
        "--families",
        action="store_true",
        help="run the families' own tests on these versions, too: five minutes for each",
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Without the option, nothing here is part of a run."""
    is_driver = collection_path.name.startswith("test_")
    return True if is_driver and not config.getoption("versions") else None
