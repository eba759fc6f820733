"""Models are run without their memory: those that work run, and those that fail are found."""

from typing import Any

import pytest
import torch
import transformers

from forgather_convert.discovery.choice import resolve_converter
from forgather_convert.models import trial_run
from forgather_convert.models.reference import ReferenceClasses
from forgather_convert.models.trial_run import error_in_run
from support.available_families import available
from support.memory import anonymous_memory, peak_memory
from support.workspace import families

#: Its weights would take 189 GB in float32.
_LARGE = {
    "num_hidden_layers": 4,
    "hidden_size": 16384,
    "intermediate_size": 53248,
    "num_attention_heads": 128,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
}


def on_meta(config: Any) -> Any:
    with torch.device("meta"):
        return transformers.AutoModelForCausalLM.from_config(config)


@pytest.mark.version_independent
@pytest.mark.parametrize("family", available(families()))
def test_every_config_of_every_family_runs(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If nearly all parameters count as large; no run is left undecided.

    That it runs with few large ones is part of every conversion.
    """
    hooks = resolve_converter(family)
    classes = ReferenceClasses.of(hooks)
    monkeypatch.setattr(trial_run.logger, "debug", pytest.fail)
    monkeypatch.setattr(trial_run, "_SMALL", 8)
    for name, fields in hooks.get_tiny_configs().items():
        with torch.device("meta"):
            model = classes.model_class(classes.read(fields, name))
        assert error_in_run(model) is None, name


@pytest.mark.parametrize(
    ("config", "fields", "message"),
    [
        ("MixtralConfig", {"num_local_experts": 2, "num_experts_per_tok": 3}, "out of range"),
        ("DeepseekV3Config", {"n_group": 2, "topk_group": 4}, "out of range"),
        # 3 of the 12 dimensions of a head are rotated: there are angles for 4.
        ("PhiConfig", {"hidden_size": 48, "partial_rotary_factor": 0.25}, "must match"),
    ],
)
def test_a_model_that_fails(config: str, fields: dict[str, Any], message: str) -> None:
    tiny = {
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "vocab_size": 64,
    }
    if config == "DeepseekV3Config":
        tiny["first_k_dense_replace"] = 0
    error = error_in_run(on_meta(getattr(transformers, config)(**tiny, **fields)))
    assert message in str(error)


@pytest.mark.parametrize("positions", [1, 2, 3])
def test_a_model_with_few_positions(positions: int) -> None:
    config = transformers.GPT2Config(n_layer=1, n_embd=8, n_head=2, n_positions=positions)
    assert error_in_run(on_meta(config)) is None


def test_memory_does_not_grow_with_the_model() -> None:
    error_in_run(on_meta(transformers.LlamaConfig(**{**_LARGE, "hidden_size": 128})))
    model = on_meta(transformers.LlamaConfig(**_LARGE))
    before = anonymous_memory()
    errors = []
    assert peak_memory(lambda: errors.append(error_in_run(model))) - before < 64 * 2**20
    assert errors == [None]
