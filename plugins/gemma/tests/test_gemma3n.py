"""What Gemma 3n has besides the standard tests: streams, and limits that training enforces."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from forgather_convert import ConverterError, plan
from forgather_convert.testing.capabilities import why_absent
from forgather_convert.testing.converted import Family
from forgather_convert.testing.directories import differences
from forgather_convert.testing.models import (
    read_json,
    read_weights,
    write_json,
    write_model,
    write_weights,
)
from forgather_convert.testing.running import load_forgather, prompt, unequal
from forgather_convert_gemma.gemma3n import Gemma3n
from forgather_convert_gemma.gemma3n_text import Gemma3nText

_SHARED, _LIMITED = Family(Gemma3nText()).hooks.get_tiny_configs().values()


@pytest.fixture
def family() -> Family:
    family = Family(Gemma3nText())
    absent = why_absent(family.hooks)
    if absent:
        pytest.skip(absent)
    return family


def _both(family: Family, fields: Mapping[str, Any], directory: Path) -> tuple[Any, Any]:
    """The original and the converted model."""
    source = write_model(directory / "hf", family.hooks, fields)
    return family.load_hf(source), load_forgather(family.convert(source, directory / "fg"))


def test_unused_projections_come_back(family: Family, tmp_path: Path) -> None:
    """Published layers that reuse keys and values have projections for them nevertheless."""
    source = write_model(tmp_path / "hf", family.hooks, _SHARED)
    weights = read_weights(source)
    layer = f"model.layers.{_SHARED['num_hidden_layers'] - 1}.self_attn"
    for name in ("k_proj.weight", "v_proj.weight", "k_norm.weight"):
        weights[f"{layer}.{name}"] = torch.full((4, 4), 2.0)
    write_weights(source, weights)
    back = family.convert(family.convert(source, tmp_path / "fg"), tmp_path / "back")
    assert differences(source, back) == []


def test_limits_are_enforced(family: Family, tmp_path: Path) -> None:
    """Training changes the same coefficients, by as much."""
    models = _both(family, _LIMITED, tmp_path)
    limit = _LIMITED["altup_coef_clip"]
    ids = prompt(_LIMITED)
    for model in models:
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(2):
            optimizer.zero_grad()
            model.train()(ids, labels=ids, use_cache=False).loss.backward()
            optimizer.step()
        assert any(
            bool((tensor.abs() > limit).any())
            for name, tensor in before.items()
            if "prediction" in name
        )
    saved = [tmp_path / name for name in ("trained-hf", "trained-fg")]
    for model, directory in zip(models, saved, strict=True):
        model.save_pretrained(directory)
    converted = read_weights(family.convert(saved[0], tmp_path / "converted"))
    assert unequal(converted, read_weights(saved[1])) == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning:(?!forgather)")
@pytest.mark.filterwarnings("ignore::FutureWarning:(?!forgather)")
@pytest.mark.parametrize("fields", [_SHARED, _LIMITED], ids=["shared", "limited"])
def test_as_users_run_it(family: Family, fields: Mapping[str, Any], tmp_path: Path) -> None:
    """With a static cache, with vectors instead of tokens, and with all hidden states."""
    models = _both(family, fields, tmp_path)
    ids = prompt(fields)
    vectors = models[0].get_input_embeddings()(ids).detach()
    results = []
    for model in models:
        generated = model.generate(
            ids,
            max_new_tokens=4,
            do_sample=False,
            cache_implementation="static",
            disable_compile=True,
        )
        with torch.no_grad():
            # Without tokens, layers get projections of the vectors alone.
            alone = model(inputs_embeds=vectors, use_cache=False).logits
            output = model(ids, output_hidden_states=True)
        results.append((generated, alone, *output.hidden_states))
    one, other = results
    assert len(one) == len(other)
    assert all(map(torch.equal, one, other))


@pytest.mark.skipif(find_spec("timm") is not None, reason="timm is installed")
def test_what_a_whole_model_needs_is_named(family: Family, tmp_path: Path) -> None:
    source = write_model(tmp_path / "hf", family.hooks, _SHARED)
    text = read_json(source / "config.json")
    write_json(source / "config.json", {"model_type": "gemma3n", "text_config": text})
    with pytest.raises(ConverterError, match="`pip install timm`"):
        plan(source, tmp_path / "fg", converter=Gemma3n())
