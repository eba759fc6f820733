"""The parameters of a model that was just built are remembered."""

from typing import Any

import pytest
import transformers

from forgather_convert.errors import SourceError
from forgather_convert.models import parameters
from forgather_convert.models.parameters import parameters_of_class
from support.variants import BASE

_MODEL: Any = transformers.LlamaForCausalLM


@pytest.fixture(autouse=True)
def built(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The configs of the models that are built in a test, which begins without memories."""
    configs: list[Any] = []

    class Counted(_MODEL):  # type: ignore[misc]
        def __init__(self, config: Any) -> None:
            configs.append(config)
            super().__init__(config)

    monkeypatch.setattr(parameters, "_known", {})
    monkeypatch.setattr(transformers, "LlamaForCausalLM", Counted)
    return configs


def config(**fields: Any) -> Any:
    return transformers.LlamaConfig(**{**BASE, **fields})


def test_the_same_model_is_built_once(built: list[Any]) -> None:
    one = config()
    before = one.to_dict()
    found = parameters_of_class(transformers.LlamaForCausalLM, one)
    assert parameters_of_class(transformers.LlamaForCausalLM, config()) is found
    assert len(built) == 1
    assert one.to_dict() == before


def test_any_other_field_is_another_model(built: list[Any]) -> None:
    model = transformers.LlamaForCausalLM
    plain = parameters_of_class(model, config())
    assert parameters_of_class(model, config(num_hidden_layers=1)) != plain
    assert parameters_of_class(model, config(tie_word_embeddings=True)).tied
    assert len(built) == 3


def test_a_model_that_was_not_run_is_run(built: list[Any]) -> None:
    def never(error: Exception) -> SourceError:
        raise error

    for failure in (None, never, never):
        parameters_of_class(transformers.LlamaForCausalLM, config(), failure)
    assert len(built) == 2


def test_a_failure_is_not_remembered(built: list[Any]) -> None:
    """It is raised again, with the words of each caller."""
    fields = {"num_attention_heads": 4, "num_key_value_heads": 3}
    for words in ("one", "other"):
        with pytest.raises(SourceError, match=words):
            parameters_of_class(
                transformers.LlamaForCausalLM,
                config(**fields),
                lambda error, words=words: SourceError(words),  # type: ignore[misc]
            )
    assert len(built) == 2


def test_the_oldest_are_forgotten(built: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model = transformers.LlamaForCausalLM
    size = len(parameters_of_class(model, config()).shapes)
    monkeypatch.setattr(parameters, "_REMEMBERED", size)
    parameters_of_class(model, config(vocab_size=7))
    parameters_of_class(model, config(vocab_size=7))
    assert len(built) == 2
    parameters_of_class(model, config())
    assert len(built) == 3
    monkeypatch.setattr(parameters, "_REMEMBERED", size - 1)
    for _ in range(2):
        parameters_of_class(model, config(vocab_size=9))
    assert len(built) == 5
