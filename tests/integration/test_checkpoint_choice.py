"""What is converted is what was trained last, and the log says what that is."""

import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from forgather_convert import ConvertOptions, OptionError, SourceError, convert, plan
from forgather_convert.source import trainer_state
from support.checkpoints import Checkpoints
from support.log import logged
from support.models import write_hf_model
from support.pairs import Pair
from support.refusals import assert_refused
from support.variants import Variant, variant

pytestmark = pytest.mark.version_independent

Pairs = Callable[[Variant, str], Pair]

_LLAMA = variant("llama-default")


@pytest.fixture
def checkpoints(convert_once: Pairs, tmp_path: Path) -> Checkpoints:
    return Checkpoints(shutil.copytree(convert_once(_LLAMA, "float32").fg, tmp_path / "fg"))


def _state(directory: Path, **fields: object) -> None:
    """Writes what a trainer notes."""
    (directory / "trainer_state.json").write_text(json.dumps(fields))


def _log_of_planning(checkpoints: Checkpoints, level: int = logging.INFO) -> str:
    with logged(level) as messages:
        plan(checkpoints.fg, checkpoints.fg.parent / "hf")
    return "\n".join(messages)


def test_the_highest_number_is_the_latest(checkpoints: Checkpoints, tmp_path: Path) -> None:
    """Numbers are compared, not names; and not the times, which a copy changes."""
    checkpoints.add("checkpoint-10", 10.0)
    checkpoints.add("checkpoint-9", 9.0)
    checkpoints.add("checkpoint-007", 7.0)
    checkpoints.add("checkpoint-best", 99.0)
    assert checkpoints.converted(tmp_path / "hf") == 10.0


@pytest.mark.parametrize("what", ["directory", "weights"])
def test_a_newer_checkpoint_is_named(what: str, checkpoints: Checkpoints) -> None:
    """A training went back to step 2000, and the framework takes the newest."""
    times = {"checkpoint-5000": 1_700_000_000, "checkpoint-2000": 1_700_003_600}
    for name, time in times.items():
        directory = checkpoints.add(name, 1.0)
        same = 1_600_000_000
        os.utime(directory / "model.safetensors", (0, time if what == "weights" else same))
        os.utime(directory, (0, time if what == "directory" else same))
    (message,) = (text for text in _log_of_planning(checkpoints, 30).splitlines())
    older, newer = (checkpoints.fg / name for name in times)
    assert f"Converting {older}, which has the highest number" in message
    assert f"{newer} is newer" in message
    assert f"-c {newer}" in message


def test_nothing_is_said_of_checkpoints_in_order(checkpoints: Checkpoints) -> None:
    for number in (9, 10):
        directory = checkpoints.add(f"checkpoint-{number}", 1.0)
        for path in (directory / "model.safetensors", directory):
            os.utime(path, (0, 1_700_000_000 + number))
    # One that cannot be taken.
    (checkpoints.fg / "checkpoint-3").mkdir()
    assert _log_of_planning(checkpoints, 30) == ""


@pytest.mark.parametrize("kind", ["inside", "option"])
def test_a_checkpoint_of_another_family(
    kind: str, checkpoints: Checkpoints, convert_once: Pairs, tmp_path: Path
) -> None:
    """Its weights fit, but it attends otherwise: the model's config has no window."""
    other = convert_once(variant("mistral-window"), "float32").fg
    place = (checkpoints.fg if kind == "inside" else tmp_path) / "checkpoint-3"
    checkpoint = shutil.copytree(other, place)
    options = {"checkpoint_path": checkpoint} if kind == "option" else {}
    words = (checkpoint / "config.json", "'mistral'", "'llama'", "another", "-path")
    assert_refused(checkpoints.fg, SourceError, *words, **options)
    plan(checkpoint, tmp_path / "alone")


def test_both_places_are_searched(checkpoints: Checkpoints, tmp_path: Path) -> None:
    checkpoints.add("checkpoint-10", 10.0)
    checkpoints.add("checkpoints/checkpoint-9", 9.0)
    assert checkpoints.converted(tmp_path / "one") == 10.0
    checkpoints.add("checkpoints/checkpoint-11", 11.0)
    assert checkpoints.converted(tmp_path / "other") == 11.0


def test_a_link_to_a_checkpoint_is_one(checkpoints: Checkpoints, tmp_path: Path) -> None:
    elsewhere = checkpoints.add("../scratch/big", 12.0)
    (checkpoints.fg / "checkpoint-12").symlink_to(elsewhere)
    checkpoints.add("checkpoint-9", 9.0)
    assert checkpoints.converted(tmp_path / "hf") == 12.0


def test_a_link_beside_its_checkpoint_is_the_same_one(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    target = checkpoints.add("checkpoints/checkpoint-9", 9.0)
    (checkpoints.fg / "checkpoint-9").symlink_to(target)
    assert checkpoints.converted(tmp_path / "hf") == 9.0


@pytest.mark.parametrize("other", ["checkpoints/checkpoint-9", "checkpoint-009"])
def test_two_checkpoints_of_the_same_number_are_an_error(
    other: str, checkpoints: Checkpoints, tmp_path: Path
) -> None:
    """Their place does not tell which was trained last."""
    both = [checkpoints.add("checkpoint-9", 9.0), checkpoints.add(other, 90.0)]
    with pytest.raises(SourceError, match="same number") as caught:
        checkpoints.converted(tmp_path / "hf")
    assert all(f"-c {path}" in str(caught.value) for path in both)
    assert checkpoints.converted(tmp_path / "hf", checkpoint_path=both[1]) == 90.0


def test_older_checkpoints_of_the_same_number_do_not_matter(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    for name in ("checkpoint-9", "checkpoints/checkpoint-9", "checkpoint-10"):
        checkpoints.add(name, 10.0)
    assert checkpoints.converted(tmp_path / "hf") == 10.0


@pytest.mark.parametrize(
    "requested", ["checkpoint-9", "checkpoints/checkpoint-8", "checkpoint-8", "{fg}/checkpoint-9"]
)
def test_a_requested_checkpoint_wins(
    requested: str, checkpoints: Checkpoints, tmp_path: Path
) -> None:
    """By an absolute path, or by one that is relative to the model or its checkpoints."""
    checkpoints.add("checkpoint-10", 10.0)
    checkpoints.add("checkpoint-9", 9.0)
    checkpoints.add("checkpoints/checkpoint-8", 8.0)
    path = Path(requested.format(fg=checkpoints.fg))
    assert checkpoints.converted(tmp_path / "hf", checkpoint_path=path) == float(requested[-1])


def test_a_requested_checkpoint_is_relative_to_the_working_directory_first(
    checkpoints: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As every other path of a command line is."""
    checkpoints.add("checkpoint-9", 9.0)
    elsewhere = checkpoints.add("elsewhere/checkpoint-9", 90.0)
    monkeypatch.chdir(elsewhere.parent)
    value = checkpoints.converted(tmp_path / "hf", checkpoint_path=Path("checkpoint-9"))
    assert value == 90.0


def test_a_checkpoint_that_is_not_found_lists_those_that_are(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    checkpoints.add("checkpoint-9", 9.0)
    checkpoints.add("checkpoints/checkpoint-8", 8.0)
    (checkpoints.fg / "checkpoint-10").mkdir()
    with pytest.raises(SourceError, match="Checkpoint not found: checkpoint-11") as caught:
        checkpoints.converted(tmp_path / "hf", checkpoint_path=Path("checkpoint-11"))
    fg = checkpoints.fg
    offered = f"-c {fg}/checkpoint-9, -c {fg}/checkpoints/checkpoint-8, -c {fg}."
    assert str(caught.value).endswith(offered)


def test_the_model_itself_on_request(checkpoints: Checkpoints, tmp_path: Path) -> None:
    checkpoints.add("checkpoint-9", 9.0)
    assert checkpoints.own != 9.0
    value = checkpoints.converted(tmp_path / "hf", checkpoint_path=checkpoints.fg)
    assert value == checkpoints.own


# What the log says


@pytest.mark.parametrize("place", ["checkpoint-9", "checkpoints/checkpoint-9"])
def test_the_log_says_which_checkpoint_and_where(place: str, checkpoints: Checkpoints) -> None:
    checkpoints.add("checkpoint-8", 8.0)
    path = checkpoints.add(place, 9.0)
    assert f"Using the latest checkpoint: {path}\n" in _log_of_planning(checkpoints)


def test_the_log_says_that_the_model_itself_is_taken(checkpoints: Checkpoints) -> None:
    assert f"Using the weights of {checkpoints.fg} itself" in _log_of_planning(checkpoints)


def test_the_log_says_what_was_requested(checkpoints: Checkpoints, tmp_path: Path) -> None:
    path = checkpoints.add("checkpoint-9", 9.0)
    with logged() as messages:
        plan(checkpoints.fg, tmp_path / "hf", ConvertOptions(checkpoint_path=path))
    assert f"Using the checkpoint given by --checkpoint-path: {path}" in messages


@pytest.mark.parametrize("place", ["checkpoint-10", "."])
@pytest.mark.parametrize(
    "noted",
    ["checkpoint-9", "./out/checkpoint-9", "/home/me/fg/checkpoint-9/", "D:\\fg\\checkpoint-9"],
)
def test_the_log_says_that_another_checkpoint_was_the_best(
    noted: str, place: str, checkpoints: Checkpoints
) -> None:
    """The trainer notes a path of the machine where it ran."""
    best = checkpoints.add("checkpoints/checkpoint-9", 9.0)
    checkpoints.add("checkpoint-10", 10.0)
    _state(checkpoints.fg / place, best_model_checkpoint=noted)
    assert (
        f"checkpoint-9 as the best checkpoint, not checkpoint-10. To convert it, use -c {best}"
        in (_log_of_planning(checkpoints))
    )


@pytest.mark.parametrize(
    "noted",
    [
        None,
        9,
        ["checkpoint-9"],
        "checkpoint-10",
        "checkpoint-8",
        "../elsewhere",
        "checkpoint-9; rm -rf ~",
        "checkpoint-9\x1b[2J",
        "checkpoint-\u0669",
        "",
    ],
)
def test_a_best_checkpoint_that_is_none_is_not_named(
    noted: object, checkpoints: Checkpoints
) -> None:
    checkpoints.add("checkpoint-9", 9.0)
    _state(checkpoints.add("checkpoint-10", 10.0), best_model_checkpoint=noted)
    assert "as the best checkpoint" not in _log_of_planning(checkpoints)


@pytest.mark.parametrize("text", ["", "[]", "[" * 100_000, "\xff", '{"global_step": true}'])
def test_a_damaged_trainer_state_does_no_harm(text: str, checkpoints: Checkpoints) -> None:
    directory = checkpoints.add("checkpoint-10", 10.0)
    (directory / "trainer_state.json").write_bytes(text.encode("latin-1"))
    assert "Using the latest checkpoint" in _log_of_planning(checkpoints)


def test_a_huge_trainer_state_is_not_read(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be read into memory as a whole."""
    checkpoints.add("checkpoint-9", 9.0)
    directory = checkpoints.add("checkpoint-10", 10.0)
    _state(directory, best_model_checkpoint="checkpoint-9")
    assert "as the best checkpoint" in _log_of_planning(checkpoints)
    monkeypatch.setattr(trainer_state, "_MAX_SIZE", 10)
    assert "as the best checkpoint" not in _log_of_planning(checkpoints)


@pytest.mark.parametrize(("step", "is_said"), [(12, True), (10, False), (9, False), ("12", False)])
def test_the_log_says_that_the_model_itself_was_saved_later(
    step: object, is_said: bool, checkpoints: Checkpoints
) -> None:
    """A script that saves its last state into the output directory leaves such a model."""
    checkpoints.add("checkpoint-10", 10.0)
    _state(checkpoints.fg, global_step=step)
    log = _log_of_planning(checkpoints, logging.WARNING)
    assert (f"-c {checkpoints.fg}" in log) == is_said


def test_a_model_without_weights_of_its_own_was_not_saved_later(checkpoints: Checkpoints) -> None:
    checkpoints.add("checkpoint-10", 10.0)
    _state(checkpoints.fg, global_step=12)
    (checkpoints.fg / "model.safetensors").unlink()
    assert f"-c {checkpoints.fg}" not in _log_of_planning(checkpoints, logging.WARNING)


# Hugging Face models that were trained


def test_the_log_says_that_a_hugging_face_model_has_checkpoints(tmp_path: Path) -> None:
    """Its own weights are converted, and might be older."""
    source = write_hf_model(tmp_path / "hf", _LLAMA)
    newest = write_hf_model(source / "checkpoint-10", _LLAMA)
    write_hf_model(source / "checkpoint-9", _LLAMA)
    with logged(logging.WARNING) as warnings:
        plan(source, tmp_path / "fg")
    assert any(
        f"the latest of which is {newest}. They are not converted" in text for text in warnings
    )


def test_a_checkpoint_of_a_hugging_face_model_is_a_model(tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", _LLAMA)
    checkpoint = write_hf_model(source / "checkpoint-10", _LLAMA, "bfloat16")
    convert(checkpoint, tmp_path / "fg")
    convert(tmp_path / "fg", tmp_path / "back")
    for path in checkpoint.iterdir():
        assert (tmp_path / "back" / path.name).read_bytes() == path.read_bytes()


def test_a_checkpoint_is_not_chosen_for_a_hugging_face_model(tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", _LLAMA)
    with pytest.raises(OptionError, match="--checkpoint-path"):
        plan(source, tmp_path / "fg", ConvertOptions(checkpoint_path=source))


def test_a_name_that_is_longer_than_any(checkpoints: Checkpoints, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is not a directory"):
        checkpoints.converted(tmp_path / "hf", checkpoint_path=Path("a" * 300))


def test_a_link_that_leads_to_itself(checkpoints: Checkpoints, tmp_path: Path) -> None:
    link = checkpoints.fg / "checkpoint-9"
    link.symlink_to(link)
    checkpoints.add("checkpoints/checkpoint-9", 9.0)
    with pytest.raises(SourceError, match=r"checkpoint-9.*Too many levels of symbolic links"):
        checkpoints.converted(tmp_path / "hf")
