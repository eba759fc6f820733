"""The models that the framework runs, made once.

These tests are run by ``tox run -e framework``. They need the framework, which is on no package
index: ``FORGATHER_FRAMEWORK`` names a checkout of it.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from forgather_convert import convert
from support.real_framework import (
    CHECKOUT,
    VARIABLE,
    Models,
    Source,
    convert_with_framework,
    write_reference,
    write_samantha,
    write_workspace,
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What the framework and its libraries warn about is not ours."""
    for item in items:
        item.add_marker(pytest.mark.filterwarnings("default"))


@pytest.fixture(scope="session", autouse=True)
def _framework() -> None:
    if not (CHECKOUT / "src" / "forgather").is_dir():
        pytest.exit(f"{VARIABLE} names no checkout of the Forgather framework.", returncode=2)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Source], Models]:
    """Gives a model in all forms. They are shared: train copies of them."""
    made: dict[Source, Models] = {}

    def get(source: Source) -> Models:
        if source not in made:
            place = tmp_path_factory.mktemp(source.id)
            hf = source.write(place / "hf")
            convert(hf, place / "ours")
            made[source] = Models(
                hf,
                write_reference(hf, place / "reference"),
                place / "ours",
                convert_with_framework(hf, place / "theirs"),
            )
        return made[source]

    return get


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project that trains in small, with its data."""
    write_samantha(Path(os.environ["HF_HOME"], "hub"))
    return write_workspace(tmp_path_factory.mktemp("workspace") / "workspace")
