"""Configs of adapters with wrong values: the adapter that PEFT loads, or one clear error."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from forgather_convert import ConvertOptions, convert
from support.adapters import with_adapter, write_adapter
from support.converting import convert_unchecked, logits_of
from support.directories import differences
from support.fuzzing import changed_values, copied, outcome, times, with_one_wrong
from support.models import load_forgather, load_hf, write_hf_model
from support.variants import variant

pytestmark = [pytest.mark.version_independent, pytest.mark.filterwarnings("ignore")]

#: Some match in all time that there is.
PATTERNS = st.one_of(
    st.sampled_from(["(.+)+x", r"(\w*)*!", "(a|a)*b", "(.*?){30}x", ".*" * 30, "(?=(.+)+$)x"]),
    st.lists(
        st.sampled_from([".*", "q_proj", "v", "(", ")", "[", "|", "+", "{9}", "?", r"\d", "."]),
        max_size=6,
    ).map("".join),
)
OF_PATTERNS = ("target_modules", "exclude_modules", "layers_pattern", "modules_to_save")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hf_model(tmp_path_factory.mktemp("base") / "hf", variant("llama-default"))


@pytest.fixture(scope="module")
def base_there(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert_unchecked(base, tmp_path_factory.mktemp("there") / "fg")


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter. Not to be changed."""
    directory = tmp_path_factory.mktemp("adapters") / "hf"
    return write_adapter(directory, load_hf(base, "llama"), target_modules=["q_proj", "v_proj"])


def logits_with(model: Any, adapter: Path) -> torch.Tensor | None:
    """What a model gives with an adapter; ``None`` if PEFT does not load it."""
    try:
        return logits_of(with_adapter(model, adapter))
    except Exception:
        return None


@st.composite
def configs(draw: st.DrawFn, config: dict[str, Any]) -> Any:
    kind = draw(st.integers(0, 2))
    if kind == 0:
        return draw(with_one_wrong(config))
    if kind == 1:
        return draw(changed_values(config))
    pattern, name = draw(PATTERNS), draw(st.sampled_from(OF_PATTERNS))
    if name == "target_modules" or draw(st.booleans()):
        return {**config, name: pattern}
    if draw(st.booleans()):
        return {**config, "rank_pattern": {pattern: 2}}
    return {**config, name: [pattern], "layers_to_transform": [0]}


@times(1, few=0.5)
@given(data=st.data(), by_command=st.booleans())
def test_configs(
    data: st.DataObject,
    by_command: bool,
    base: Path,
    base_there: Path,
    adapter: Path,
    tmp_path: Path,
) -> None:
    with copied(adapter, tmp_path) as source:
        path = source / "adapter_config.json"
        path.write_text(json.dumps(data.draw(configs(json.loads(path.read_text())))))
        result = outcome(source, by_command, base=base)
        if result is None:
            return
        expected = logits_with(load_hf(base, "llama"), source)
        # Versions of PEFT differ in what they refuse.
        if expected is not None:
            assert torch.equal(
                logits_of(with_adapter(load_forgather(base_there), result)), expected
            )
        back = source.with_name("back")
        convert(result, back, ConvertOptions(base=base_there))
        assert differences(source, back) == []


@times(2, few=0.5)
@given(data=st.data())
def test_every_field_with_every_wrong_value(
    data: st.DataObject, base: Path, base_there: Path, adapter: Path, tmp_path: Path
) -> None:
    with copied(adapter, tmp_path) as source:
        path = source / "adapter_config.json"
        path.write_text(json.dumps(data.draw(with_one_wrong(json.loads(path.read_text())))))
        result = outcome(source, base=base)
        if result is not None:
            back = source.with_name("back")
            convert(result, back, ConvertOptions(base=base_there))
            assert differences(source, back) == []
