"""Random architectures of every family compute the same bits, or are refused.

A config begins as one of a family's tiny configs; sizes, options and flags are drawn for it. Where
transformers itself builds and runs the model, the conversion is checked as a user's is, and then
compared again by other runs than the check's own.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import assume, event, given
from hypothesis import strategies as st

from forgather_convert import ForgatherConvertError
from forgather_convert.discovery.choice import resolve_converter
from forgather_convert.logit_check.logits import cache_argument
from forgather_convert.testing.converted import Family
from forgather_convert.testing.models import save_model
from forgather_convert.testing.running import load_forgather, padding_mask
from support.available_families import available
from support.directories import differences
from support.fuzzing import times
from support.workspace import families

# transformers warns about what is drawn.
pytestmark = pytest.mark.filterwarnings("ignore")

_LAYER_COUNTS = ("num_hidden_layers", "n_layer")
_HEAD_COUNTS = ("num_attention_heads", "n_head")
_HIDDEN_SIZES = ("hidden_size", "n_embd")
#: Lists with an entry for each layer.
_BY_LAYER = (
    "layer_types",
    "mlp_layer_types",
    "no_rope_layers",
    "intermediate_size",
    "activation_sparsity_pattern",
)
_ACTIVATIONS = ("silu", "gelu", "gelu_pytorch_tanh", "relu")
#: What is drawn for a field that a config has, whatever its family.
_VALUES: Mapping[str, st.SearchStrategy[Any]] = {
    "intermediate_size": st.integers(1, 40),
    "moe_intermediate_size": st.integers(1, 24),
    "n_inner": st.one_of(st.none(), st.integers(1, 40)),
    "max_position_embeddings": st.integers(48, 200),
    "n_positions": st.integers(48, 200),
    "sliding_window": st.integers(1, 24),
    "hidden_act": st.sampled_from(_ACTIVATIONS),
    "rope_theta": st.sampled_from([1.5, 100.0, 10000.0, 1e6]),
    "num_experts_per_tok": st.integers(1, 3),
    "initializer_range": st.sampled_from([0.01, 0.02, 0.3]),
}


@st.composite
def architectures(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A family, and a config for it."""
    family = draw(st.sampled_from(available(families())))
    tiny = resolve_converter(family).converter.get_tiny_configs()
    config = dict(tiny[draw(st.sampled_from(sorted(tiny)))])
    config["vocab_size"] = draw(st.integers(12, 90))
    for name in sorted(config.keys() & _VALUES.keys()):
        if config[name] is not None and draw(st.booleans()):
            config[name] = draw(_VALUES[name])
    for name in [name for name, value in config.items() if isinstance(value, bool)]:
        config[name] = draw(st.booleans())
    config["tie_word_embeddings"] = draw(st.booleans())
    _draw_layers(draw, config)
    _draw_heads(draw, config)
    return family, config


def _draw_layers(draw: st.DrawFn, config: dict[str, Any]) -> None:
    for name in config.keys() & {*_LAYER_COUNTS}:
        config[name] = draw(st.integers(1, 4))
        for by_layer in config.keys() & {*_BY_LAYER}:
            kinds = config[by_layer]
            if isinstance(kinds, list) and kinds:
                config[by_layer] = draw(
                    st.lists(st.sampled_from(kinds), min_size=config[name], max_size=config[name])
                )


def _draw_heads(draw: st.DrawFn, config: dict[str, Any]) -> None:
    """Heads in groups, of a size of their own or that which the hidden size gives."""
    if not draw(st.booleans()):
        return
    heads = draw(st.sampled_from([1, 2, 3, 4, 6]))
    groups = [groups for groups in range(1, heads + 1) if heads % groups == 0]
    size = 2 * draw(st.integers(1, 12))
    for name in config.keys() & {*_HEAD_COUNTS}:
        config[name] = heads
    if "num_key_value_heads" in config:
        config["num_key_value_heads"] = draw(st.sampled_from(groups))
    if "head_dim" in config and draw(st.booleans()):
        config["head_dim"] = 2 * draw(st.integers(1, 16))
    for name in config.keys() & {*_HIDDEN_SIZES}:
        config[name] = heads * size


def outputs(model: Any, vocabulary: int) -> list[torch.Tensor]:
    """Logits of runs that differ in length, batch, padding and cache."""
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(0, vocabulary, (2, 33), generator=generator)
    results = []
    with torch.no_grad():
        for length in (1, 2, 7, 33):
            results.append(model(ids[:1, :length]).logits)
        results.append(model(ids, attention_mask=padding_mask(ids)).logits)
        output = model(ids[:, :30], use_cache=True)
        for position in range(30, 33):
            output = model(
                ids[:, position : position + 1],
                use_cache=True,
                **cache_argument(model, output),
            )
            results.append(output.logits)
    return results


def is_a_model(family: Family, directory: Path, vocabulary: int) -> bool:
    """Whether transformers itself loads and runs a directory."""
    try:
        outputs(family.load_hf(directory), vocabulary)
    # Whatever it may be: the config is none of a model.
    except Exception:
        return False
    return True


@times(1.2, few=0.4)
@given(architecture=architectures(), dtype=st.sampled_from(["float32", "bfloat16"]))
def test_equal_or_refused(
    architecture: tuple[str, dict[str, Any]], dtype: str, tmp_path_factory: Any
) -> None:
    model_type, fields = architecture
    family = Family(resolve_converter(model_type).converter)
    root: Path = tmp_path_factory.mktemp("random")
    (root / "hf").mkdir()
    try:
        save_model(root / "hf", family.hooks, fields, dtype)
    # transformers cannot build it.
    except Exception:
        event(f"{model_type}: no model")
        assume(False)
    if not is_a_model(family, root / "hf", fields["vocab_size"]):
        event(f"{model_type}: no model")
        assume(False)
    try:
        family.convert(root / "hf", root / "fg", logit_check=True, skip_default_tokens=True)
    except ForgatherConvertError as error:
        event(f"{model_type}: refused: {type(error).__name__}")
        shutil.rmtree(root)
        return
    event(f"{model_type}: converted")
    for attention in ("eager", "sdpa"):
        if attention == "sdpa" and not family.reference.model_class._supports_sdpa:
            continue
        options = {"attn_implementation": attention, "dtype": getattr(torch, dtype)}
        runs = [
            outputs(model, fields["vocab_size"])
            for model in (
                family.load_hf(root / "hf", **options),
                load_forgather(root / "fg", **options),
            )
        ]
        assert [torch.equal(hf, fg) for hf, fg in zip(*runs, strict=True)] == [True] * len(runs[0])
    family.convert(root / "fg", root / "back")
    assert differences(root / "hf", root / "back") == []
    shutil.rmtree(root)
