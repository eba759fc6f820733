"""A result that computes something else says where: the layer and the component."""

from pathlib import Path

import pytest
import torch

from forgather_convert import HFConverter, MappingError, ValidationError, convert
from forgather_convert.discovery.choice import resolve_converter
from forgather_convert.logit_check.alignment import align
from forgather_convert.logit_check.first_difference import FirstDifference, find_first_difference
from forgather_convert.logit_check.trace import output_of, trace
from support import wrong_converters as wrong
from support.models import load_hf, write_hf_model
from support.pairs import Pair
from support.unchecked_configs import skip_config_check, skip_reverse_plan
from support.variants import Variant, variant

pytestmark = pytest.mark.version_independent

#: For each converter that is wrong in a way that only the outputs show: the layer; the component
#: that gets the same and gives something else; the first output in it that differs, if another.
PLACES: list[tuple[type[HFConverter], int, str, str | None]] = [
    # What was converted for the queries is compared with what was converted from them.
    (wrong.SwapsQueriesAndKeys, 0, "model.layers.0.self_attn", "model.layers.0.self_attn.q_norm"),
    (wrong.SwapsNorms, 0, "model.layers.0", "model.layers.0.input_layernorm"),
    (wrong.TransposesOutputs, 0, "model.layers.0.self_attn", None),
    (wrong.LosesTheta, 0, "model.layers.0.self_attn", "model.layers.0.self_attn.o_proj"),
    (wrong.LosesEpsilon, 0, "model.layers.0.input_layernorm", None),
    (wrong.LosesWindow, 1, "model.layers.1.self_attn", "model.layers.1.self_attn.o_proj"),
    (wrong.IgnoresHeadNorms, 0, "model.layers.0.self_attn", "model.layers.0.self_attn.o_proj"),
]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hf_model(tmp_path_factory.mktemp("source") / "hf", wrong.REVEALING)


def message_of(source: Path, destination: Path, converter: type[HFConverter]) -> str:
    with pytest.raises(ValidationError, match="Model logits are dissimilar") as caught:
        convert(source, destination, converter=converter())
    assert not destination.exists()
    return str(caught.value)


@pytest.mark.parametrize(("converter", "layer", "component", "first"), PLACES)
def test_failed_check_names_layer_and_component(
    source: Path,
    tmp_path: Path,
    converter: type[HFConverter],
    layer: int,
    component: str,
    first: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Some of them would be refused before anything is computed: they lose a field of the config.
    skip_reverse_plan(monkeypatch)
    skip_config_check(monkeypatch)
    text = message_of(source, tmp_path / "fg", converter)
    assert f"\nThe first difference is in layer {layer}, in {component} (causal_lm." in text
    assert ": its input is equal" in text
    if first is None:
        assert "its output differs by up to" in text
    else:
        assert f"is that of {first} (causal_lm." in text


def test_modules_that_get_something_else_are_named_with_their_partner(
    source: Path, tmp_path: Path
) -> None:
    text = message_of(source, tmp_path / "fg", wrong.SwapsLayers)
    assert "in layer 0, in model.layers.0.input_layernorm (causal_lm.layer_stack.layers.1" in text
    assert "its input differs, too" in text


def test_on_the_way_back_the_other_names_come_first(source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "fg")
    text = message_of(tmp_path / "fg", tmp_path / "hf", wrong.SwapsQueriesAndKeys)
    place = "causal_lm.layer_stack.layers.0.attention (model.layers.0.self_attn in the result)"
    assert f"in layer 0, in {place}" in text


@pytest.mark.parametrize(
    ("converter", "name"),
    [
        (wrong.ForgetsHeadNorms, r"model.layers.\{0..1\}.self_attn.q_norm.weight"),
        (wrong.TiesHead, "ties 'lm_head.weight'"),
    ],
)
def test_names_tell_before_anything_is_written(
    source: Path, tmp_path: Path, converter: type[HFConverter], name: str
) -> None:
    with pytest.raises(MappingError, match=name):
        convert(source, tmp_path / "fg", converter=converter())


def run(model: torch.nn.Module) -> None:
    with torch.no_grad():
        model(input_ids=torch.arange(5, 45).unsqueeze(0), use_cache=False)


def test_equal_models_have_no_difference(source: Path) -> None:
    model = load_hf(source, "qwen3")
    first = find_first_difference(model, load_hf(source, "qwen3"), None, run)
    assert first.source is None
    assert first.last_equal == "lm_head"
    assert "where logits are computed from their outputs" in str(first)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("model.embed_tokens", None),
        ("model.layers.1.mlp.up_proj", 1),
        ("model.norm", None),
        ("lm_head", None),
    ],
)
def test_a_single_weight_is_found(source: Path, name: str, layer: int | None) -> None:
    changed = load_hf(source, "qwen3")
    with torch.no_grad():
        # The row of a token that is run, in the embedding.
        changed.get_submodule(name).weight[20] += 0.5
    first = find_first_difference(load_hf(source, "qwen3"), changed, None, run)
    assert (first.source, first.result, first.layer) == (name, name, layer)
    assert first.input_is_equal
    assert 0 < first.largest < float("inf")


def test_outside_of_the_layers_is_said() -> None:
    first = FirstDifference(None, "lm_head", "lm_head", True, ("lm_head",) * 2, 0.5, "model.norm")
    assert str(first) == (
        "The first difference is outside the layers, in lm_head: its input is equal, its output "
        "differs by up to 0.5. The last equal output before it is that of model.norm."
    )


@pytest.mark.parametrize(
    "model", [variant("llama-tied"), wrong.REVEALING], ids=lambda model: model.id
)
def test_all_that_has_weights_is_compared_and_equal(tmp_path: Path, model: Variant) -> None:
    """In the models of a correct conversion, in spite of their different divisions."""
    pair = Pair.create(tmp_path, model, "float32")
    hf, fg = pair.load()
    traces = trace(hf, run), trace(fg, run)
    mapping = resolve_converter(pair.variant.family).weight_mapping()
    alignment = align(*traces, mapping)
    with_weights = {parameter.rpartition(".")[0] for parameter, _ in hf.named_parameters()}
    assert with_weights <= alignment.modules.keys()
    assert list(alignment.layers.values()) == [*range(hf.config.num_hidden_layers)]
    calls = {(call.module, call.index): call for call in traces[1].calls}
    for call in traces[0].calls:
        if call.module in alignment.modules:
            other = calls[alignment.modules[call.module], call.index]
            assert call.output == other.output, call.module


def test_run_ends_where_its_output_is_known(source: Path) -> None:
    model = load_hf(source, "qwen3")
    ended: list[bool] = []

    def run_to_the_end(model: torch.nn.Module) -> None:
        run(model)
        ended.append(True)

    output = output_of(model, "model.layers.0.mlp", 0, run_to_the_end)
    assert output is not None
    assert output.shape == (1, 40, 32)
    assert ended == []
    assert output_of(model, "model.layers.0.mlp", 1, run_to_the_end) is None
    assert ended == [True]
