"""Checkpoints of any name, links to anywhere, and what trainers note: one of them, or an error."""

import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forgather_convert.source.checkpoint_choice import find_checkpoint
from support.converting import convert_unchecked
from support.fuzzing import WRONG_VALUES, changed_texts, copied, outcome, refusal_of, times
from support.models import write_hf_model
from support.variants import Variant

pytestmark = [pytest.mark.version_independent, pytest.mark.filterwarnings("ignore")]

TINY = {"hidden_size": 4, "num_attention_heads": 2, "num_key_value_heads": 1}
TINY |= {"intermediate_size": 4, "vocab_size": 8, "num_hidden_layers": 1, "head_dim": 2}

NAMES = st.one_of(
    st.integers(-1, 12).map(lambda number: f"checkpoint-{number}"),
    st.sampled_from(["checkpoint-007", "checkpoint-" + "9" * 200, "checkpoint-٣", "checkpoint-1a"]),
    st.sampled_from(
        ["checkpoint-", "checkpoint", "latest", "checkpoints", "checkpoint-1\n", "a b"]
    ),
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1).map(
        lambda name: name[:60]
    ),
)
#: What a name leads to. The first are directories with weights, and others are not.
KINDS = st.sampled_from(
    [
        "weights",
        "weights",
        "copied",
        "empty",
        "file",
        "to model",
        "to room",
        "to root",
        "to itself",
        "to nothing",
        "to another",
    ]
)
REQUESTED = st.one_of(
    NAMES,
    st.sampled_from(["", ".", "..", "../..", "/", "checkpoints/checkpoint-1", "../source", "~"]),
    st.sampled_from(["a" * 300, "a/" * 3000, "\0", "\udcff", "checkpoint-1/../checkpoint-2"]),
)


@pytest.fixture(scope="module")
def forgather(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Forgather model. Not to be changed."""
    root = tmp_path_factory.mktemp("fg")
    return convert_unchecked(
        write_hf_model(root / "hf", Variant("llama", "tiny", TINY)), root / "fg"
    )


def add(source: Path, parent: Path, name: str, kind: str) -> None:
    path = parent / name
    if os.path.lexists(path) or len(os.fsencode(name)) > 255 or name in (".", ".."):
        return
    if not parent.is_dir():
        if os.path.lexists(parent):
            return
        parent.mkdir()
    # It may be a link to anywhere by now.
    if not Path(os.path.realpath(parent)).is_relative_to(os.path.realpath(source.parent)):
        return
    weights = source / "model.safetensors"
    targets = {
        "to model": source,
        "to room": source.parent,
        "to root": Path("/"),
        "to itself": path,
    }
    targets |= {"to nothing": source / "gone", "to another": parent / "checkpoint-1"}
    if kind in targets:
        path.symlink_to(targets[kind])
    elif kind == "file":
        path.write_bytes(b"1")
    else:
        path.mkdir()
        if kind == "weights":
            (path / weights.name).symlink_to(weights)
        elif kind == "copied":
            shutil.copyfile(weights, path / weights.name)
            shutil.copyfile(source / "config.json", path / "config.json")


def tree(data: st.DataObject, source: Path) -> None:
    """Adds checkpoints to a model."""
    for name, kind in data.draw(st.dictionaries(NAMES, KINDS, max_size=4)).items():
        add(source, data.draw(st.sampled_from([source, source / "checkpoints"])), name, kind)
    for directory in (source, *source.glob("checkpoint*")):
        state = {"global_step": 7, "best_model_checkpoint": "/else/where/checkpoint-1"}
        real = Path(os.path.realpath(directory))
        if directory.is_dir() and real.is_relative_to(os.path.realpath(source)):
            if data.draw(st.booleans()):
                best = data.draw(st.one_of(REQUESTED, WRONG_VALUES))
                text = json.dumps({**state, "best_model_checkpoint": best})
                (directory / "trainer_state.json").write_text(text)
            elif data.draw(st.booleans()):
                (directory / "trainer_state.json").write_bytes(data.draw(changed_texts(state)))


@times(5, few=3)
@given(data=st.data())
def test_choice(data: st.DataObject, forgather: Path, tmp_path: Path) -> None:
    """What is chosen has weights, and is the newest or what was asked for."""
    with copied(forgather, tmp_path) as source:
        tree(data, source)
        requested = data.draw(st.one_of(st.none(), REQUESTED))
        found = []
        path = None if requested is None else Path(requested)
        if refusal_of(lambda: found.append(find_checkpoint(source, path)), tmp_path) is None:
            (chosen,) = found
            assert chosen.tensors
            assert chosen.files.directory.is_dir()


@given(data=st.data(), by_command=st.booleans())
def test_conversion(data: st.DataObject, by_command: bool, forgather: Path, tmp_path: Path) -> None:
    with copied(forgather, tmp_path) as source:
        tree(data, source)
        options = {}
        requested = data.draw(st.one_of(st.none(), REQUESTED))
        # No argument of a program has one.
        if requested is not None and not (by_command and "\0" in requested):
            options["checkpoint_path"] = Path(requested)
        outcome(source, by_command, logit_check=False, **options)
