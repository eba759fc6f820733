"""What Gemma 4 has besides the standard tests: tables, caches and tensors of its own."""

from pathlib import Path
from typing import Any

import pytest
import torch

from forgather_convert import UnsupportedModelError, plan
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
from forgather_convert.testing.running import load_forgather, prompt
from forgather_convert_gemma.gemma4 import Gemma4
from forgather_convert_gemma.gemma4_text import Gemma4Text

(_FIELDS,) = Family(Gemma4()).hooks.get_tiny_configs().values()


@pytest.fixture
def family() -> Family:
    family = Family(Gemma4Text())
    absent = why_absent(family.hooks)
    if absent:
        pytest.skip(absent)
    return family


@pytest.fixture
def source(family: Family, tmp_path: Path) -> Path:
    return write_model(tmp_path / "hf", family.hooks, _FIELDS)


def test_unused_projections_come_back(family: Family, source: Path, tmp_path: Path) -> None:
    """Published layers that reuse keys and values have projections for them nevertheless."""
    weights = read_weights(source)
    layer = "model.layers.2.self_attn"
    for name in ("k_proj.weight", "v_proj.weight", "k_norm.weight"):
        weights[f"{layer}.{name}"] = torch.full((4, 4), 2.0)
    write_weights(source, weights)
    fg = family.convert(source, tmp_path / "fg")
    back = family.convert(fg, tmp_path / "back")
    assert differences(source, back) == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning:(?!forgather)")
@pytest.mark.filterwarnings("ignore::FutureWarning:(?!forgather)")
def test_as_users_run_it(family: Family, source: Path, tmp_path: Path) -> None:
    """With a cache of a fixed size, with vectors instead of tokens, and with more tokens."""
    models = family.load_hf(source), load_forgather(family.convert(source, tmp_path / "fg"))
    ids = prompt(_FIELDS)
    vectors = models[0].get_input_embeddings()(ids).detach()
    results = []
    for model in models:
        model.eval()
        generated = model.generate(
            ids,
            max_new_tokens=4,
            do_sample=False,
            cache_implementation="static",
            disable_compile=True,
        )
        model.resize_token_embeddings(170)
        with torch.no_grad():
            logits = model(inputs_embeds=vectors, use_cache=False).logits
        table = model.get_per_layer_input_embeddings().weight
        results.append((generated, logits[..., :160], table[:160]))
        assert (table.shape[0], model.config.vocab_size_per_layer_input) == (170, 170)
    assert all(map(torch.equal, *results))


def test_bidirectional_attention_is_refused(family: Family, source: Path, tmp_path: Path) -> None:
    """Attention to the future among the tokens of images is not; it does not concern text."""
    config: dict[str, Any] = read_json(source / "config.json")
    assert config["use_bidirectional_attention"] == "vision"
    write_json(source / "config.json", {**config, "use_bidirectional_attention": "all"})
    with pytest.raises(UnsupportedModelError, match="'use_bidirectional_attention' is 'all'"):
        plan(source, tmp_path / "fg", converter=family.converter)
