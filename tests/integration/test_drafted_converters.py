"""A converter that is drafted from what transformers knows about a family."""

import subprocess
import sys
from pathlib import Path

import pytest
from transformers import CONFIG_MAPPING

from forgather_convert import STANDARD_WEIGHT_MAPPING, HFConverter
from forgather_convert.converter_tools.check import Outcome, check_converter
from forgather_convert.converter_tools.draft import draft_converter
from forgather_convert.converter_tools.family_survey import survey_family
from forgather_convert.converter_tools.mapping_proposal import propose
from forgather_convert.converter_tools.new import create_distribution
from forgather_convert.discovery.converter_imports import import_file
from forgather_convert.dynamic_model.components.experts_implementation import HAS_STACKED_EXPERTS
from forgather_convert.errors import OptionError
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.tensors.family_mapping import family_mapping, own_weights
from support.command import forgather

#: Drafting asks transformers about many models, and version 4 is much slower to build them.
pytestmark = pytest.mark.version_independent

#: A draft that needs no hand: norms in other places, and rotations of a part of a head.
FINISHED = ("glm4",)
#: What drafts of others have: latent attention, layers without positions, experts behind no norm,
#: RoPE by kind of layer, sinks and experts with biases, an option that is refused, since it adds
#: weights, and biases on queries, keys and values only.
FOUND = {
    "deepseek_v3": '"attention": "latent_attention:LatentAttention"',
    "exaone4": '"no_rope_layers": [',
    "flex_olmo": '"layer": "post_norm_layer:PostNormLayer"',
    "gemma3_text": '"norm": "rms_norm:ZeroCenteredRMSNorm"',
    "gpt_oss": '"experts": "biased_experts:BiasedExperts"',
    "phi": '"qk_layernorm": "No component of this converter has',
    "qwen2": '"attention_output_bias": False',
}
#: What transformers has that core has no component for, by the role: by its weights, or only by
#: what it computes.
TO_WRITE = {"gpt2": "input_encoder", "gpt_neox": "attention"}


def draft(directory: Path, model_type: str) -> Path:
    result = forgather("converters", "new", "mine", "--from", model_type, "--directory", directory)
    assert result.returncode == 0, result.stderr
    return Path(result.stdout.strip())


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def drafted_hooks(root: Path, model_type: str) -> FamilyHooks:
    (path,) = root.glob(f"src/*/{model_type}.py")
    (found,) = (
        value
        for value in vars(sys.modules[import_file(path)]).values()
        if isinstance(value, type) and issubclass(value, HFConverter) and value is not HFConverter
    )
    return FamilyHooks(found(), "test")


@pytest.mark.parametrize("model_type", FINISHED)
def test_a_draft_of_standard_components_converts(model_type: str, tmp_path: Path) -> None:
    """Nothing is written by hand: every tiny model is equal in both directions."""
    root = create_distribution(tmp_path, "mine", known_as=model_type)
    steps = [*check_converter(drafted_hooks(root, model_type))]
    assert [step for step in steps if step.outcome is not Outcome.OK] == []
    names = {step.name for step in steps}
    for name in ("plain", "tied"):
        assert f"a tiny model converts both ways, config '{name}'" in names
    assert run(root, "ruff", "format", "--check", ".").returncode == 0
    checked = run(root, "ruff", "check", "--no-cache", ".")
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("model_type", FOUND)
def test_components_are_found(model_type: str) -> None:
    """Those with which a tiny model computes and trains as in transformers."""
    if model_type == "deepseek_v3" and not HAS_STACKED_EXPERTS:
        pytest.skip("transformers 4 adds up experts in another order")
    draft = draft_converter(survey_family(model_type))
    assert draft.is_alike, draft.open_points
    text = "\n".join([*draft.attributes.values(), *draft.own])
    assert FOUND[model_type] in text


@pytest.mark.parametrize("model_type", ["axk2", "jetmoe"])
def test_what_a_draft_writes_is_python(model_type: str, tmp_path: Path) -> None:
    """Also for layers with more parts than a standard one."""
    if model_type not in CONFIG_MAPPING:
        pytest.skip(f"this version of transformers has no {model_type}")
    root = create_distribution(tmp_path, "mine", known_as=model_type)
    for path in root.rglob("*.py"):
        compile(path.read_text(), path, "exec")


@pytest.mark.parametrize("model_type", TO_WRITE)
def test_what_is_not_known_is_said(model_type: str, tmp_path: Path) -> None:
    """A skeleton for each component that core lacks, and every weight is in the draft."""
    survey = survey_family(model_type)
    mapping = propose(survey).mapping
    root = draft(tmp_path, model_type)
    readme = (root / "README.md").read_text()
    for weight in survey.weights:
        assert weight.name in mapping or weight.name in readme, weight
    (component,) = tmp_path.rglob("components/*.py")
    role = TO_WRITE[model_type]
    assert component.stem == f"{model_type}_{role}"
    assert f"components/{component.name}" in readme
    details = {
        step.detail
        for step in check_converter(drafted_hooks(root, model_type))
        if step.outcome is Outcome.FAILED
    }
    assert details == {
        f"The model's code is unfinished: Write the {role} in components/{component.name}."
    }


def test_a_model_that_is_not_causal() -> None:
    with pytest.raises(OptionError, match="tokens attend to later ones"):
        survey_family("bert")


def test_norms_are_in_the_order_in_which_they_run() -> None:
    """Not in that of their names, nor of the checkpoint."""
    mapping = propose(survey_family("glm4")).mapping
    names = [
        mapping[f"model.layers.{{layer}}.{name}.weight"].split(".")[-2]
        for name in (
            "input_layernorm",
            "post_self_attn_layernorm",
            "post_attention_layernorm",
            "post_mlp_layernorm",
        )
    ]
    assert names == ["norm1", "norm2", "norm3", "norm4"]


def test_a_shape_decides_what_a_name_leaves_open() -> None:
    """Norms of the queries are over one head, or over all of them."""
    over_a_head, over_all = (
        {
            each.components["attention"]
            for choice in propose(survey_family(name)).choices
            if choice.role == "attention"
            for each in choice.alternatives
        }
        for name in ("qwen3", "olmo2")
    )
    assert over_a_head == {
        "qk_norm_attention:QKNormAttention",
        "qk_norm_attention:TransposedQKNormAttention",
    }
    assert over_all == {"projection_norm_attention:ProjectionNormAttention"}


def test_a_type_that_transformers_does_not_have(tmp_path: Path) -> None:
    result = forgather(
        "converters", "new", "mine", "--from", "no_such_type", "--directory", tmp_path
    )
    assert result.returncode == 1
    assert "no causal language model of the type 'no_such_type'" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("model_type", ["arcee", "glm4", "gpt2", "gpt_neox", "olmo2", "phi"])
def test_what_a_draft_says_of_weights_is_the_proposed_mapping(model_type: str) -> None:
    """Relative names, and only what differs from the standard decoder's."""
    survey = survey_family(model_type)
    mapping = propose(survey).mapping
    own = own_weights(mapping, survey.layer.removesuffix(".{layer}."))
    assert own.others == {}
    whole = family_mapping(
        STANDARD_WEIGHT_MAPPING,
        own.hf_layers,
        own.model_weights,
        own.layer_weights,
        own.layer_tensors,
    )
    assert mapping.items() <= whole.items()
    assert len(own.layer_weights) < len(mapping) / 2
