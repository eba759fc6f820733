"""The packages of core stand in one order, and the tour of the code shows it."""

import re
from pathlib import Path

import pytest

from support.packages import CORE, ORDER, Import, diagram, imports, offences, table

pytestmark = pytest.mark.version_independent

_TOUR = Path(__file__).parents[2] / "docs" / "how-a-conversion-flows.md"


def test_a_package_imports_only_those_above_it() -> None:
    assert [str(offence) for offence in offences(imports())] == []


def test_only_the_testing_package_imports_pytest() -> None:
    """And nothing imports that package: it is the last in the order."""
    assert [*ORDER][-1] == "testing"
    pattern = re.compile(r"^ *(?:import|from) pytest\b", re.MULTILINE)
    importing = [path for path in CORE.rglob("*.py") if pattern.search(path.read_text("utf-8"))]
    assert {path.relative_to(CORE).parts[0] for path in importing} == {"testing"}


def test_every_package_has_its_place() -> None:
    packages = {path.stem for path in CORE.iterdir() if path.suffix == ".py" or path.is_dir()}
    facades = {"__init__", "__main__", "__pycache__", "model_conversion", "py"}
    assert packages - facades == ORDER.keys()


def test_an_import_against_the_order_is_named() -> None:
    upwards = Import("tensors", "api", "tensors/casts.py:3")
    unknown = Import("tensors", "novel", "tensors/casts.py:4")
    assert offences([upwards, Import("api", "tensors", "api.py:1"), unknown]) == [upwards, unknown]
    assert str(upwards) == "tensors/casts.py:3 imports api"


@pytest.mark.parametrize("generated", [diagram, table])
def test_the_tour_is_current(generated: object) -> None:
    assert callable(generated)
    text = generated()
    assert text in _TOUR.read_text(encoding="utf-8"), f"Put this into {_TOUR.name}:\n{text}"
