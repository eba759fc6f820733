"""What a converter's methods may look like: pluggy's versions differ in what they pass."""

import inspect
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pluggy
import pytest

from forgather_convert import (
    STANDARD_WEIGHT_MAPPING,
    ConverterError,
    HFConverter,
    SourceConfig,
    UnsupportedModelError,
    hookimpl,
)
from forgather_convert.converter_tools.hook_signatures import signature_problems
from forgather_convert.discovery.choice import resolve_converter
from forgather_convert.families.derived_calls import HOOK_NAMES, Implementations
from forgather_convert.families.extensions import Extension
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.families.hookspecs import ConverterHooks
from forgather_convert.tensors.weight_mapping import WeightMapping
from support.distributions import SPECIFICATION, write

pytestmark = pytest.mark.usefixtures("own_tree")


class OldStyle(HFConverter):
    """As an implementation from before the hooks had all their arguments."""

    model_type = "old"

    def get_weight_mapping(self) -> Any:  # type: ignore[override]
        return {"a.{layer}": "b.{layer}"}

    def create_project_config(self, src_config: Any) -> Any:  # type: ignore[override]
        return {"model_type": "old", "config": dict(src_config)}

    def create_hf_config(self) -> Any:  # type: ignore[override]
        return "a config"

    def get_hf_model_class(self) -> Any:
        return object

    def validate_source_config(self, direction: str) -> None:  # type: ignore[override]
        raise UnsupportedModelError(direction)


class WithDefaults(HFConverter):
    """As the specification's example, with defaults and more."""

    model_type = "defaults"

    def get_weight_mapping(self, direction: str = "none", own: int = 3) -> Any:
        return {f"{direction}.{own}": "b"}

    def create_project_config(self, src_config: Any = None, max_length: int | None = None) -> Any:
        return {"model_type": "defaults", "config": {"length": max_length}}

    def create_hf_config(self, src_config: Any, max_length: int | None = None) -> Any:
        return max_length

    def get_hf_model_class(self, own: int = 3) -> Any:
        return object

    def validate_source_config(self, **arguments: Any) -> None:  # type: ignore[override]
        raise UnsupportedModelError(",".join(sorted(arguments)))


def test_implementations_with_fewer_arguments() -> None:
    hooks = FamilyHooks(OldStyle(), "here")
    config = SourceConfig({"size": 1})
    assert hooks.weight_mapping() == WeightMapping.from_dict({"a.{layer}": "b.{layer}"}, "x")
    assert hooks.project(config, 8).config == {"size": 1}
    assert hooks.create_hf_config(config, 8) == "a config"
    with pytest.raises(UnsupportedModelError, match=r"^to_forgather$"):
        hooks.validate_source_config(config, "to_forgather")
    assert signature_problems(OldStyle) == []


def test_implementations_with_defaults_get_the_arguments() -> None:
    hooks = FamilyHooks(WithDefaults(), f"pluggy {pluggy.__version__}")
    config = SourceConfig({})
    assert hooks.weight_mapping().rules[0].sources == ("to_forgather.3",)
    assert hooks.project(config, 8).config == {"length": 8}
    assert hooks.create_hf_config(config, 8) == 8
    with pytest.raises(UnsupportedModelError, match=r"^direction,src_config$"):
        hooks.validate_source_config(config, "to_forgather")
    assert signature_problems(WithDefaults) == []


def test_a_hook_can_get_a_new_argument() -> None:
    """An implementation of today is not called with an argument that it does not know."""

    class Specifications:
        def hook(self, old: int, new: int) -> None: ...

    def call(method: Callable[..., Any]) -> Any:
        made: Any = Implementations({"hook": method}, Specifications)
        return made.hook(1, 2)

    assert call(lambda old: old) == 1
    assert call(lambda old, **rest: rest) == {"new": 2}


def test_every_hook_has_an_implementation_in_the_base_class() -> None:
    """With the same arguments, so that the specification of a hook can be read there."""
    for name in HOOK_NAMES:
        specified = inspect.signature(getattr(ConverterHooks, name)).parameters
        assert list(inspect.signature(getattr(HFConverter, name)).parameters) == list(specified)


def test_a_hook_is_declared_once() -> None:
    """What calls it, and what answers it, has the specification's signature and documentation."""
    made = Implementations({name: getattr(OldStyle(), name) for name in HOOK_NAMES})
    for name in HOOK_NAMES:
        specification = getattr(ConverterHooks, name)
        call = getattr(FamilyHooks, name)
        assert inspect.signature(call) == inspect.signature(specification)
        assert call.__doc__ == specification.__doc__
        assert inspect.signature(getattr(made, name)) == inspect.signature(specification)


def test_what_core_reads_of_a_converter_can_be_wrapped() -> None:
    """Whether it has rotary embeddings, too."""

    class Plugin:
        @hookimpl(wrapper=True)
        def uses_rope(self) -> Generator[None, bool, bool]:
            return not (yield)

    hooks = FamilyHooks(WithDefaults(), "here")
    assert hooks.uses_rope() is True
    wrapped = hooks.with_extensions([Extension("other 1.0", Plugin())])
    assert wrapped.uses_rope() is False


class ByMethods(HFConverter):
    """Says by methods what most families say by attributes."""

    model_type = "methods"

    def get_hyperparameters(self) -> Any:
        return ("width", "depth")

    def get_field_names(self) -> Any:
        return {"width": "hidden_size"}

    def uses_rope(self) -> bool:
        return False


def test_the_base_class_heeds_what_methods_say() -> None:
    config = SourceConfig({"width": 8, "depth": 2, "other": 3, "head_dim": 4})
    project: Any = ByMethods().create_project_config(config)
    assert project["config"].items() >= {"hidden_size": 8, "depth": 2}.items()
    assert "other" not in project["config"]
    assert "rope_theta" not in project["config"]


class WrongArguments(HFConverter):
    def get_weight_mapping(self, way: str) -> Any:
        return STANDARD_WEIGHT_MAPPING

    def create_hf_config(self, src_config: Any, /, max_length: Any = None) -> Any:
        return None

    def get_hf_model_clas(self) -> Any:
        return None


def test_wrong_signatures_are_told() -> None:
    problems = "\n".join(signature_problems(WrongArguments))
    for word in ("unknown argument 'way'", "direction", "'src_config' by position"):
        assert word in problems
    assert "get_hf_model_clas is never called" in problems
    assert "Is it get_hf_model_class?" in problems


def test_the_specifications_example_is_loaded_as_it_is(tmp_path: Path) -> None:
    """What its methods do not give, the base class gives."""
    hooks = resolve_converter(
        "my_model", [write(tmp_path / "my_model_converter.py", SPECIFICATION)]
    )
    expected = WeightMapping.from_dict(STANDARD_WEIGHT_MAPPING, "x")
    assert hooks.weight_mapping() == expected
    assert signature_problems(type(hooks.converter)) == []
    with pytest.raises(ConverterError, match="MyModelForCausalLM"):
        hooks.get_hf_model_class()
