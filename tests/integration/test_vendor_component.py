"""A vendor's family that differs in one component, which its converter brings as a source file."""

import ast
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from forgather_convert import ConverterError, ConvertOptions, HFConverter, SourceConfig, convert
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.testing import TINY_DECODER, ConverterConformance, scanned_converter
from forgather_convert.testing.models import write_model

SOURCE = Path(__file__).parents[1] / "vendor" / "arcee" / "src"
COMPONENTS = SOURCE / "components"
ARCEE = scanned_converter(SOURCE, "arcee")
PLAIN = {**TINY_DECODER, "hidden_act": "relu2"}


class TestArcee(ConverterConformance):
    converter_class = ARCEE
    configs = {
        "plain": PLAIN,
        "tied": {**PLAIN, "tie_word_embeddings": True},
        "biases": {**PLAIN, "attention_bias": True, "mlp_bias": True},
        "yarn": {
            **PLAIN,
            "rope_scaling": {
                "rope_type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 32,
            },
        },
    }


def converted(converter: HFConverter, parent: Path) -> Path:
    """A tiny model's Forgather directory."""
    source = write_model(parent / "hf", FamilyHooks(converter, "test"), PLAIN)
    convert(source, parent / "fg", ConvertOptions(logit_check=False), converter=converter)
    return parent / "fg"


def project_config(component_paths: Any) -> Callable[..., dict[str, Any]]:
    """A hook that gives the component paths itself, in a form of its own."""

    def create_project_config(
        self: HFConverter, src_config: SourceConfig, max_length: int | None = None
    ) -> dict[str, Any]:
        project = HFConverter.create_project_config(self, src_config, max_length)
        assert isinstance(project, Mapping)
        return {**project, "component_paths": component_paths}

    return create_project_config


def with_component_paths(component_paths: Any) -> HFConverter:
    hook = project_config(component_paths)
    converter: HFConverter = type("Changed", (ARCEE,), {"create_project_config": hook})()
    return converter


def test_the_file_lies_beside_those_of_core(tmp_path: Path) -> None:
    """By a name with the same hash, and instead of the component whose role it fills."""
    fg = converted(ARCEE(), tmp_path)
    (modeling,) = fg.glob("modeling_arcee_*.py")
    suffix = modeling.stem.removeprefix("modeling_arcee_")
    file = fg / f"plain_feedforward_{suffix}.py"
    assert file.read_bytes() == (COMPONENTS / "plain_feedforward.py").read_bytes()
    assert (fg / f"causal_attention_{suffix}.py").is_file()
    assert list(fg.glob("gated_feedforward*")) == []
    imports = [
        node for node in ast.parse(modeling.read_text()).body if isinstance(node, ast.ImportFrom)
    ]
    assert f"plain_feedforward_{suffix}" in [node.module for node in imports]


@pytest.mark.parametrize(
    "form", [lambda path: [str(path)], lambda path: (path,)], ids=["list", "tuple"]
)
def test_the_hook_may_give_the_paths_itself(form: Callable[[Path], Any], tmp_path: Path) -> None:
    fg = converted(with_component_paths(form(COMPONENTS)), tmp_path)
    assert len(list(fg.glob("plain_feedforward_*.py"))) == 1


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        ([COMPONENTS / "missing"], "which is not a directory"),
        (str(COMPONENTS), "Write a list of directories"),
        ([COMPONENTS.parent], "uses the component 'plain_feedforward'"),
        ([], "uses the component 'plain_feedforward'"),
    ],
    ids=["missing", "text", "another", "none"],
)
def test_components_that_are_not_there(paths: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConverterError, match=words):
        converted(with_component_paths(paths), tmp_path)
    assert not (tmp_path / "fg").exists()


def test_a_component_of_the_same_name_as_one_of_core(tmp_path: Path) -> None:
    """The vendor's is taken for the role that it names."""
    components = tmp_path / "components"
    components.mkdir()
    text = (COMPONENTS / "plain_feedforward.py").read_text()
    (components / "gated_feedforward.py").write_text(
        text.replace("PlainFeedforward", "GatedFeedforward")
    )
    roles = {"feedforward": "gated_feedforward:GatedFeedforward"}
    attributes = {"components": roles, "component_paths": [components]}
    fg = converted(type("Shadowing", (ARCEE,), attributes)(), tmp_path)
    (file,) = fg.glob("gated_feedforward_*.py")
    assert file.read_bytes() == (components / "gated_feedforward.py").read_bytes()
