"""The process is killed before each operation on files, and each of them fails, in turn.

What is at the destination is always nothing, the old model or the new one, and whole; the last
message is true; the source stays as it is; and the next conversion leaves only its result.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from forgather_convert import ConvertOptions, convert
from support.fault_matrix import FaultMatrix
from support.fault_selection import (
    ERRORS,
    IS_COMPLETE,
    KILL,
    SIGNALS,
    all_faults,
    kinds_of,
    one_fault,
)
from support.faults import Conversions, Fault, planned_command
from support.file_operations import Operation
from support.models import write_hf_model
from support.variants import Variant

pytestmark = pytest.mark.version_independent

_SMALL = Variant("llama", "small", {"num_hidden_layers": 1})
#: The code that writes files: the destination does not matter to it.
_WRITING = ("executor.", "file_copy.", "byte_copy.", "shard_parts.", "weights_writer.")


@dataclass(frozen=True)
class Way:
    """How a conversion meets its destination.

    Attributes:
        overwrites: Whether there is a model, which is replaced.
        lacks_renameat2: Whether the system cannot exchange directories.
    """

    overwrites: bool
    lacks_renameat2: bool = False


WAYS = {
    "new": Way(overwrites=False),
    "exchanged": Way(overwrites=True),
    "renamed twice": Way(overwrites=True, lacks_renameat2=True),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small model in both formats."""
    root = tmp_path_factory.mktemp("models")
    original = write_hf_model(root / "hf", _SMALL, dtype="bfloat16")
    convert(original, root / "fg", ConvertOptions(logit_check=False))
    return {"to forgather": original, "from forgather": root / "fg"}


@pytest.fixture(scope="module")
def conversions() -> Iterator[Conversions]:
    with Conversions() as process:
        yield process


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("direction", ["to forgather", "from forgather"])
def test_fault_before_every_operation(
    models: dict[str, Path],
    conversions: Conversions,
    tmp_path: Path,
    direction: str,
    way: str,
    request: pytest.FixtureRequest,
) -> None:
    is_thin = direction == "from forgather"
    root = tmp_path / "root"
    source = shutil.copytree(models[direction], root / "source")
    place = root / "place" / "out"
    command = planned_command(
        source,
        place,
        *(["--overwrite"] if WAYS[way].overwrites else []),
        root=root,
        plan_file=tmp_path / "plan",
        overwrite=WAYS[way].overwrites,
    )
    matrix = FaultMatrix(conversions, command, place, [source], **vars(WAYS[way]))
    if IS_COMPLETE:
        matrix.try_faults(all_faults(matrix.operations))
    else:
        matrix.try_faults(_selected(matrix.operations, WAYS[way], is_thin))
    # Seen with -rP.
    request.node.add_report_section("call", "faults", str(dict(matrix.counts)))
    assert not matrix.problems, "\n\n".join(matrix.problems)
    # All that can come of a fault has come of one.
    outcomes = {"killed, new", "killed, not new", "failed, new", "failed, as before", "new"}
    assert is_thin or outcomes <= {*matrix.counts}


def _selected(operations: tuple[Operation, ...], way: Way, is_thin: bool) -> Iterator[Fault]:
    """The first and the last operation of each kind at each place in the code, with faults that
    take turns.
    """
    for turn, alike in enumerate(kinds_of(operations)):
        if way.overwrites and any(part in alike[0].place for part in _WRITING):
            # As without.
            continue
        for fault in _faults_of_kind(alike[0], turn, way, is_thin):
            for operation in {alike[0]: 1, alike[-1]: 1}:
                yield fault.before(operation)


def _faults_of_kind(operation: Operation, turn: int, way: Way, is_thin: bool) -> list[Fault]:
    one_signal, one_error = SIGNALS[turn % len(SIGNALS)], ERRORS[turn // 2 % len(ERRORS)]
    if is_thin:
        return [one_fault(operation, turn)]
    changing = [] if operation.is_reading else [KILL]
    if way.overwrites:
        return [*changing, [one_signal, one_error][turn % 2]]
    return [*changing, one_signal, one_error]
