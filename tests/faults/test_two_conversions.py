"""Another conversion to the same destination runs before each operation of the first one.

Each ends well or is refused; what is at the destination is the result of one that ended well; and
nothing is left beside it.
"""

from pathlib import Path

import pytest

from forgather_convert import ConvertOptions, convert
from support.fault_matrix import FaultMatrix
from support.fault_selection import IS_COMPLETE, kinds_of
from support.faults import Conversions, planned_command
from support.models import write_hf_model
from support.variants import Variant

pytestmark = pytest.mark.version_independent

_SMALL = Variant("llama", "small", {"num_hidden_layers": 1})
_OTHER = Variant("llama", "other", {"num_hidden_layers": 2})


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two Forgather models, which have fewer files to convert than the others."""
    root = tmp_path_factory.mktemp("models")
    for name, variant in (("first", _SMALL), ("second", _OTHER)):
        original = write_hf_model(root / f"hf {name}", variant, dtype="bfloat16")
        convert(original, root / name, ConvertOptions(logit_check=False))
    return root


@pytest.mark.parametrize(
    ("overwrites", "lacks_renameat2"),
    [(False, False), (True, False), (True, True)],
    ids=["new", "exchanged", "renamed twice"],
)
def test_another_conversion_before_every_operation(
    models: Path,
    tmp_path: Path,
    overwrites: bool,
    lacks_renameat2: bool,
    request: pytest.FixtureRequest,
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    place = root / "place" / "out"
    options = ["--overwrite"] if overwrites else []
    first, second = (
        planned_command(
            models / name,
            place,
            *options,
            root=root,
            plan_file=tmp_path / name,
            overwrite=overwrites,
        )
        for name in ("first", "second")
    )
    with Conversions() as conversions:
        matrix = FaultMatrix(
            conversions, first, place, [models], overwrites, lacks_renameat2=lacks_renameat2
        )
        changing = [alike[0] for alike in kinds_of(matrix.operations) if not alike[0].is_reading]
        matrix.try_rival(second, matrix.operations if IS_COMPLETE else changing[::2])
    # Seen with -rP.
    request.node.add_report_section("call", "faults", str(dict(matrix.counts)))
    assert not matrix.problems, "\n\n".join(matrix.problems)
    assert matrix.counts["succeeded: first"]
