"""A component gets what its constructor names, and roles may differ by layer."""

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from forgather_convert import TINY_DECODER, ConverterError
from forgather_convert.dynamic_model.capabilities import Capabilities
from forgather_convert.dynamic_model.code_generator import generate_code
from forgather_convert.dynamic_model.loading import load_generated_code
from forgather_convert.dynamic_model.project import Project

pytestmark = pytest.mark.version_independent

LAYER = """\
from .pre_norm_layer import PreNormLayer
from .sandwich_norm_layer import SandwichNormLayer


class Inherited(SandwichNormLayer):
    pass


class Extended(PreNormLayer):
    def __init__(self, attention, norm1, *, layer_idx, config, feedforward, norm2, extra=3):
        super().__init__(config, attention, feedforward, norm1, norm2)
        self.layer_idx, self.extra = layer_idx, extra


class Greedy(PreNormLayer):
    def __init__(self, config, attention, feedforward, norm1, norm2, weather):
        super().__init__(config, attention, feedforward, norm1, norm2)


class Circular(PreNormLayer):
    def __init__(self, config, layer, attention, feedforward, norm1, norm2):
        super().__init__(config, attention, feedforward, norm1, norm2)
"""
FEEDFORWARD = """\
from torch import nn

from .feedforward import Feedforward


class Numbered(Feedforward):
    tp_plan = {"up_proj": "colwise"}

    def __init__(self, config, layer_idx):
        super().__init__(config)
        self.number = layer_idx


class Bare(nn.Module):
    def forward(self, hidden_states):
        return hidden_states
"""
NORM = """\
from torch import nn


class Configured(nn.LayerNorm):
    def __init__(self, width, config, eps):
        super().__init__(width, eps=eps)
        self.config = config


class Sizeless(nn.Module):
    pass


class Greedy(nn.LayerNorm):
    def __init__(self, width, weather):
        super().__init__(width)
"""
CONFIG = {
    **TINY_DECODER,
    "head_dim": 16,
    "attention_bias": False,
    "mlp_bias": False,
    "sliding_window": None,
}


def project(
    directory: Path, components: Mapping[str, str | Mapping[str, str]], **config: Any
) -> Project:
    for name, text in (("layers", LAYER), ("blocks", FEEDFORWARD), ("norms", NORM)):
        (directory / f"my_{name}.py").write_text(text)
    return Project("vendor", {**CONFIG, **config}, components, [directory])


def build(project: Project) -> Any:
    classes = load_generated_code(generate_code(project))
    return classes.model_class(classes.config_class())


def test_an_inherited_constructor_is_asked(tmp_path: Path) -> None:
    model = build(project(tmp_path, {"layer": "my_layers:Inherited"}))
    layer = model.causal_lm.layer_stack.layers[0]
    assert [name for name, _ in layer.named_children()] == [
        "attention",
        "feedforward",
        "norm1",
        "norm2",
        "norm3",
        "norm4",
    ]


def test_arguments_may_have_any_order(tmp_path: Path) -> None:
    """Keywords, the layer's index, and a default that nothing replaces."""
    model = build(project(tmp_path, {"layer": "my_layers:Extended"}))
    layers = model.causal_lm.layer_stack.layers
    assert [(layer.layer_idx, layer.extra) for layer in layers] == [(0, 3), (1, 3), (2, 3)]


def test_a_feedforward_gets_its_index_and_a_norm_its_config(tmp_path: Path) -> None:
    components = {"feedforward": "my_blocks:Numbered", "norm": "my_norms:Configured"}
    model = build(project(tmp_path, components))
    layers = model.causal_lm.layer_stack.layers
    assert [layer.feedforward.number for layer in layers] == [0, 1, 2]
    assert layers[0].norm1.config is model.config
    assert layers[0].norm1.eps == CONFIG["rms_norm_eps"]


def test_roles_differ_by_layer(tmp_path: Path) -> None:
    """And each kind's linear layers are in the plan for several devices."""
    components = {"feedforward": {"sparse": "my_blocks:Numbered", "none": "my_blocks:Bare"}}
    kinds = ["none", "sparse", "none"]
    made = project(tmp_path, components, mlp_layer_types=kinds)
    model = build(made)
    names = [type(layer.feedforward).__name__ for layer in model.causal_lm.layer_stack.layers]
    assert names == ["Bare", "Numbered", "Bare"]
    plan = model.config.base_model_tp_plan
    assert {name: style for name, style in plan.items() if "feedforward" in name} == {
        "layer_stack.layers.*.feedforward.up_proj": "colwise"
    }
    classes = load_generated_code(generate_code(made))
    with pytest.raises(ValueError, match="no feedforward for layers of the kind 'dense'"):
        classes.model_class(classes.config_class(mlp_layer_types=["dense"] * 3))


@pytest.mark.parametrize(
    ("components", "config", "words"),
    [
        ({"layer": "my_layers:Greedy"}, {}, "asks for 'weather'"),
        ({"layer": "my_layers:Circular"}, {}, "asks for it in turn: layer"),
        ({"norm": "my_norms:Sizeless"}, {}, "the first one must be its size"),
        ({"norm": "my_norms:Greedy"}, {}, "asks for 'weather'"),
        (
            {"head": {"a": "linear_head:LinearHead"}},
            {},
            "Only layer, attention, mixer, feedforward",
        ),
        ({"feedforward": {}}, {"mlp_layer_types": ["a"]}, "at least one kind"),
        ({"feedforward": {'"': "feedforward:Feedforward"}}, {}, "letters, digits and '_'"),
        ({"feedforward": {"a": "feedforward:Feedforward"}}, {}, "has no 'mlp_layer_types'"),
        ({"feedforward": {"a": "Feedforward"}}, {"mlp_layer_types": ["a"]}, "module:Class"),
        ({"feedforward": 3}, {}, "module:Class"),
    ],
)
def test_what_cannot_be_built_is_refused(
    components: Any, config: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(ConverterError, match=words):
        generate_code(project(tmp_path, components, **config))


def test_a_norm_without_an_epsilon_in_the_config(tmp_path: Path) -> None:
    made = project(tmp_path, {})
    config = {name: value for name, value in made.config.items() if name != "rms_norm_eps"}
    with pytest.raises(ConverterError, match="'hyperparameters'"):
        generate_code(Project("vendor", config))
    model = build(Project("vendor", {**config, "layer_norm_eps": 0.25}))
    assert model.causal_lm.layer_stack.layer_norm.eps == 0.25


def test_capabilities_are_class_attributes(tmp_path: Path) -> None:
    capabilities = Capabilities(
        supports_sdpa=False,
        keep_in_fp32_modules=("norm1", "nowhere"),
        keep_in_fp32_modules_strict=("no.w",),
    )
    code = generate_code(Project("vendor", CONFIG, capabilities=capabilities))
    classes = load_generated_code(code)
    found = {name: getattr(classes.model_class, name) for name in capabilities.attributes()}
    assert Capabilities.from_attributes(found) == capabilities
    # Also where there is no such module, which transformers 4 refuses.
    classes.model_class(classes.config_class())
    ast.parse(code.files[f"{code.model_module}.py"])
