"""Configs with wrong values: what transformers computes for them, or one clear error."""

import json
import logging
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from forgather_convert import convert
from forgather_convert.discovery.choice import resolve_converter
from forgather_convert.testing.models import write_model
from support.fuzzing import changed_values, copied, outcome, times, with_one_wrong
from support.log import logged
from support.models import load_forgather, prompt, write_hf_model
from support.variants import variant

pytestmark = [
    pytest.mark.version_independent,
    # transformers warns about what it reads.
    pytest.mark.filterwarnings("ignore"),
]

#: Families whose configs have little in common.
FAMILIES = ("deepseek_v3", "gemma2", "gpt2", "gpt_neox", "mistral", "phi3", "qwen3", "qwen3_moe")


@pytest.fixture(scope="module")
def hugging_face(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model. Not to be changed."""
    return write_hf_model(tmp_path_factory.mktemp("hf") / "model", variant("llama-yarn"))


@pytest.fixture(scope="module")
def forgather(hugging_face: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a Forgather model. Not to be changed."""
    directory = tmp_path_factory.mktemp("fg") / "model"
    convert(hugging_face, directory)
    return directory


@pytest.fixture(scope="module")
def any_family(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A model of a family. Not to be changed."""

    @cache
    def make(family: str) -> Path:
        hooks = resolve_converter(family)
        fields = next(iter(hooks.get_tiny_configs().values()))
        return write_model(tmp_path_factory.mktemp(family) / "model", hooks, fields)

    return make


def read(model: Path) -> Any:
    return json.loads((model / "config.json").read_text())


def assert_right_or_refused(model: Path, config: Any, root: Path, by_command: bool = False) -> None:
    """Converts a model with another config, and compares with what transformers computes."""
    with copied(model, root) as source:
        (source / "config.json").write_text(json.dumps(config))
        # Without a dtype of its own a model becomes bfloat16.
        result = outcome(source, by_command, dtype="float32", logit_check=False)
        if result is None:
            return
        found = logits_of(load_forgather, result)
        expected = logits_of(transformers.AutoModelForCausalLM.from_pretrained, source)
        if found is None or expected is None:
            assert_is_not_converted(source)
        else:
            torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


def assert_is_not_converted(source: Path, by_the_check: bool = False) -> None:
    """A model that does not run is refused, unless the user is told of its config.

    Args:
        source: The model.
        by_the_check: Whether the check may be what refuses it, and not the plan.
    """
    shutil.rmtree(source.with_name("destination"))
    with logged(logging.WARNING) as messages:
        result = outcome(source, dtype="float32", logit_check=by_the_check)
    assert result is None or any("installed transformers cannot read" in text for text in messages)


def logits_of(load: Callable[[Path], Any], directory: Path) -> torch.Tensor | None:
    """What a model gives for the prompt; ``None`` if it cannot be loaded or does not run."""
    try:
        with torch.no_grad():
            logits: torch.Tensor = load(directory).eval()(prompt()).logits
    # Each class has errors of its own.
    except Exception:
        return None
    return logits


@times(2)
@given(data=st.data())
def test_every_field_with_every_wrong_value(
    data: st.DataObject, hugging_face: Path, tmp_path: Path
) -> None:
    config = data.draw(with_one_wrong(read(hugging_face)))
    assert_right_or_refused(hugging_face, config, tmp_path)


@times(1, few=0.5)
@given(data=st.data(), family=st.sampled_from(FAMILIES))
def test_other_families(data: st.DataObject, family: str, any_family: Any, tmp_path: Path) -> None:
    model = any_family(family)
    config = data.draw(with_one_wrong(read(model)))
    assert_right_or_refused(model, config, tmp_path)


@times(1, few=0.5)
@given(data=st.data(), by_command=st.booleans())
def test_several_wrong_values(
    data: st.DataObject, by_command: bool, hugging_face: Path, tmp_path: Path
) -> None:
    config = data.draw(changed_values(read(hugging_face)))
    assert_right_or_refused(hugging_face, config, tmp_path, by_command)


@times(2)
@given(data=st.data())
def test_every_field_of_a_forgather_model(
    data: st.DataObject, forgather: Path, tmp_path: Path
) -> None:
    original = read(forgather)
    config = data.draw(with_one_wrong(original))
    with copied(forgather, tmp_path) as source:
        (source / "config.json").write_text(json.dumps(config))
        result = outcome(source, dtype="float32", logit_check=False)
        # Without the names of its code users cannot load it, and they are not used.
        if result is None or config.get("auto_map") != original["auto_map"]:
            return
        found = logits_of(transformers.AutoModelForCausalLM.from_pretrained, result)
        expected = logits_of(load_forgather, source)
        if found is None or expected is None:
            assert_is_not_converted(source, by_the_check=True)
        else:
            torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
