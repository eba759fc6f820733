"""A converter that is drafted from what transformers knows about a family."""

import subprocess
import sys
from pathlib import Path

import pytest

from forgather_convert import STANDARD_WEIGHT_MAPPING
from forgather_convert.converter_tools.family_survey import survey_family
from forgather_convert.converter_tools.mapping_proposal import propose
from forgather_convert.tensors.family_mapping import family_mapping, own_weights
from support.command import forgather

#: The drafts of families that are standard components throughout need no hand.
FINISHED = ("arcee", "qwen3")
#: What transformers has that core has no component for, by the role.
TO_WRITE = {
    "olmo2": {"attention", "layer"},
    "cohere2": {"norm"},
    "qwen3_moe": {"feedforward"},
    "gpt2": set(),
}


def draft(directory: Path, model_type: str) -> Path:
    result = forgather("converters", "new", "mine", "--from", model_type, "--directory", directory)
    assert result.returncode == 0, result.stderr
    return Path(result.stdout.strip())


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("model_type", FINISHED)
def test_a_draft_of_a_standard_decoder_converts(model_type: str, tmp_path: Path) -> None:
    """Nothing is written by hand: every tiny model is equal there and back."""
    root = draft(tmp_path, model_type)
    code = (
        "import sys; sys.path.insert(0, 'src')\n"
        "from forgather_convert import HFConverter\n"
        f"from forgather_convert_mine import {model_type} as mine\n"
        "from forgather_convert.converter_tools.check import Outcome, check_converter\n"
        "from forgather_convert.families.hook_calls import FamilyHooks\n"
        "(found,) = [value for value in vars(mine).values()\n"
        "            if isinstance(value, type) and value is not HFConverter]\n"
        "for step in check_converter(FamilyHooks(found(), 'test')):\n"
        "    assert step.outcome is Outcome.OK, step\n"
        "    print(step.name)\n"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    for name in ("plain", "tied", "options"):
        assert f"a tiny model converts both ways, config '{name}'" in result.stdout
    assert run(root, "ruff", "format", "--check", ".").returncode == 0
    checked = run(root, "ruff", "check", "--no-cache", ".")
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("model_type", TO_WRITE)
def test_what_is_not_known_is_said(model_type: str, tmp_path: Path) -> None:
    """A skeleton for each component that core lacks, and every weight is in the draft."""
    survey = survey_family(model_type)
    proposal = propose(survey)
    assert {skeleton.role for skeleton in proposal.skeletons} == TO_WRITE[model_type]
    readme = (draft(tmp_path, model_type) / "README.md").read_text()
    for weight in survey.weights:
        assert weight.name in proposal.mapping or weight.name in readme, weight
    components = {path.stem for path in tmp_path.rglob("components/*.py")}
    assert components == {f"{model_type}_{role}" for role in TO_WRITE[model_type]}
    for name in components:
        assert f"components/{name}.py" in readme


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
    """Norms of the queries over one head have a standard component; over all heads, none."""
    over_a_head, over_all = (propose(survey_family(name)) for name in ("qwen3", "olmo2"))
    assert over_a_head.components["attention"] == "qk_norm_attention:QKNormAttention"
    (attention,) = [each for each in over_all.skeletons if each.role == "attention"]
    assert attention.weights["q_norm.weight"] == ("config.hidden_size",)


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
