"""Every declared alias is the same architecture, and keeps its name."""

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from forgather_convert import HFConverter, convert
from forgather_convert.converter_tools.tiny_models import tiny_cases, write_tiny_model
from forgather_convert.families.aliases import as_alias
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.families.transformers_classes import registered_classes
from forgather_convert.reporting.certificate import describe_certificate
from support.converting import read_config
from support.directories import differences
from support.workspace import plugins, project

#: The class of every model type that a plugin converts.
CONVERTERS: dict[str, type[HFConverter]] = {
    model_type: EntryPoint(model_type, target, "").load()
    for directory in plugins()
    for model_type, target in project(directory)["project"]["entry-points"][
        "forgather.converters"
    ].items()
}
ALIASES = {name: found for name, found in CONVERTERS.items() if name != found.model_type}


@pytest.mark.parametrize("converter_class", dict.fromkeys(CONVERTERS.values()))
def test_all_are_registered(converter_class: type[HFConverter]) -> None:
    registered = {name for name, converter in ALIASES.items() if converter is converter_class}
    assert registered == {*converter_class.aliases}


def test_there_are_some() -> None:
    assert {"gpt-sw3", "internlm3"} <= ALIASES.keys()


@pytest.mark.parametrize("is_tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("model_type", ALIASES)
def test_an_alias_is_the_same_architecture(model_type: str, is_tied: bool, tmp_path: Path) -> None:
    """By the check, against the class that transformers has for the alias, where it has one."""
    converter = ALIASES[model_type]()
    hooks = FamilyHooks(as_alias(converter, model_type), "under test")
    configs = (make() for make in tiny_cases(hooks).values())
    config = next(config for config in configs if config.tie_word_embeddings == is_tied)
    write_tiny_model(tmp_path / "hf", hooks, config)
    there = convert(tmp_path / "hf", tmp_path / "fg", converter=converter)
    back = convert(tmp_path / "fg", tmp_path / "back", converter=converter)
    for result in (there, back):
        assert describe_certificate(result).startswith("Verified on 5 runs")
    assert there.logits is not None
    registered = registered_classes(model_type)
    if registered is not None:
        assert there.logits.codes[0] == f"{registered[1].__name__} of transformers"
    assert read_config(tmp_path / "fg")["hf_model_type"] == model_type
    assert differences(tmp_path / "hf", tmp_path / "back") == []
