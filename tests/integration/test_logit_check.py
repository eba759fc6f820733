"""The logit check sees what differs, and nothing else."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from forgather_convert import ConvertOptions, ValidationError, api, convert
from forgather_convert.execution.executor import execute
from forgather_convert.logit_check import prompts
from forgather_convert.logit_check.logits import (
    CheckedModel,
    CheckSettings,
    LogitComparison,
    check_logits,
)
from forgather_convert.tensors.expressions import stored
from forgather_convert.weights.checkpoint import find_weights, open_checkpoint
from support.log import logged
from support.models import hf_classes, load_hf, random_state, write_hf_model, write_weights
from support.safetensors_writer import write_safetensors
from support.tokenizers import write_byte_level_bpe, write_unigram
from support.variants import Variant, variant

pytestmark = pytest.mark.version_independent

PLAIN = variant("llama-default")
#: Longer than the ids that a model without a tokenizer is checked with.
WINDOW = 48
FAR = 10**6


def side(name: str, directory: Path, family: str) -> CheckedModel:
    return CheckedModel(
        name=name,
        load=lambda: load_hf(directory, family, dtype="auto"),
        tokenizer_directory=directory,
        hf_config=hf_classes(family)[0].from_pretrained(directory),
    )


def check(
    source: Path, result: Path, family: str = "llama", dtype: str = "float32", **kwargs: Any
) -> LogitComparison:
    """Compares two Hugging Face directories."""
    files = find_weights(source)
    assert files is not None
    weights = {name: stored(ref) for name, ref in open_checkpoint(files).tensors.items()}
    return check_logits(
        replace(side("source", source, family), weights=weights),
        side("result", result, family),
        CheckSettings(dtype, **{"prompt": "The old bridge", **kwargs}),
    )


def write_changed(source: Path, **fields: Any) -> Path:
    """The same model with other fields in its config."""
    copy = source.with_name("changed")
    shutil.copytree(source, copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, **fields}))
    return copy


# The last bits


@pytest.fixture
def one_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last bits of a product of one row in float32 depend on where the matrix lies."""
    monkeypatch.setattr(prompts, "fixed_ids", lambda tokens: [tokens[1]])


@pytest.mark.parametrize("spaces", [0, 8])
@pytest.mark.usefixtures("one_token")
def test_alignment_of_the_source_is_no_difference(spaces: int, tmp_path: Path) -> None:
    """The tensors begin at 0 or 8 modulo 16 in the source, and elsewhere in the result."""
    state = random_state(PLAIN, torch.float32)
    source = write_hf_model(tmp_path / "hf", PLAIN, state=state)
    write_safetensors(source / "model.safetensors", state, more_spaces=spaces)
    result = convert(source, tmp_path / "fg", ConvertOptions(weights_format="pytorch"))
    assert result.logits is not None
    assert result.logits.are_equal
    assert result.logits.runs[0] == "the prompt (1 token) and 2 cached steps"
    assert convert(tmp_path / "fg", tmp_path / "back").logits is not None


@pytest.mark.parametrize(
    "name",
    [
        "model.embed_tokens.weight",
        "model.layers.1.self_attn.k_proj.weight",
        "model.layers.2.mlp.down_proj.weight",
        "model.norm.weight",
        "lm_head.weight",
    ],
)
def test_one_unit_in_the_last_place_of_one_weight_is_seen(name: str, tmp_path: Path) -> None:
    state = random_state(PLAIN, torch.float32)
    source = write_hf_model(tmp_path / "hf", PLAIN, state=state)
    # The largest element: the sum that a tiny one is part of rounds its last bit away. Of the
    # embedding, a row that is looked up: the first of the fixed ids.
    part = state[name][1] if name == "model.embed_tokens.weight" else state[name]
    elements = part.view(-1)
    largest = elements.abs().argmax()
    elements[largest] = torch.nextafter(elements[largest], torch.tensor(float("inf")))
    changed = write_changed(source)
    write_weights(changed, state)
    assert check(source, source).are_equal
    with pytest.raises(ValidationError, match="Model logits are dissimilar"):
        check(source, changed)


@pytest.mark.parametrize("stored", ["bfloat16", "float32", "float16"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float16"])
def test_source_is_rounded_as_the_conversion_rounds(
    stored: str, dtype: str, tmp_path: Path
) -> None:
    source = write_hf_model(tmp_path / "hf", PLAIN, stored)
    result = convert(source, tmp_path / "fg", ConvertOptions(dtype=dtype))
    assert result.logits is not None
    assert result.logits.are_equal


def test_a_cast_is_told_from_a_wrong_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it costs is measured, and a failure says how much of the difference is the cast's."""
    source = write_hf_model(tmp_path / "hf", PLAIN, "float32")
    with logged() as messages:
        logits = convert(source, tmp_path / "fg", ConvertOptions(dtype="bfloat16")).logits
    assert logits is not None
    cast = logits.cast
    assert cast is not None
    assert (cast.stored_dtype, cast.dtype) == ("float32", "bfloat16")
    assert cast.result == cast.plain_cast
    # On the prompt: the other runs are no text.
    assert cast.result.num_positions == len(choose_fixed())
    assert 0 < cast.result.mean_divergence < cast.result.max_divergence
    assert 0 < cast.result.mean_difference < cast.result.max_difference
    stored, rounded = (
        load_hf(source, "llama", dtype=dtype)(torch.tensor([choose_fixed()])).logits
        for dtype in ("float32", "bfloat16")
    )
    difference = (stored.double() - rounded.double()).abs()
    assert cast.result.max_difference == difference.max().item()
    assert cast.result.mean_difference == pytest.approx(difference.mean().item())
    same = int((stored.argmax(-1) == rounded.argmax(-1)).sum())
    assert cast.result.num_same_choice == same
    (message,) = [text for text in messages if text.startswith("Casting float32 to bfloat16")]
    assert str(cast.result) in message
    assert "exactly the effect of the cast" in message

    def execute_badly(plan: Any, staged: Path, *arguments: Any) -> None:
        execute(plan, staged, *arguments)
        weights = staged / "model.safetensors"
        data = bytearray(weights.read_bytes())
        data[-1] ^= 0x40
        weights.write_bytes(data)

    monkeypatch.setattr(api, "execute", execute_badly)
    with pytest.raises(ValidationError, match="Model logits are dissimilar") as caught:
        convert(source, tmp_path / "bad", ConvertOptions(dtype="bfloat16"))
    text = str(caught.value)
    assert f"plain cast to {cast.dtype}: {cast.plain_cast}" in text
    assert "the result: " in text
    assert f"the result: {cast.plain_cast}" not in text


def choose_fixed() -> list[int]:
    """What a model without a tokenizer is checked with."""
    return prompts.fixed_ids(range(160))


def test_nothing_is_said_of_a_cast_that_keeps_every_value(tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", PLAIN, "bfloat16")
    logits = convert(source, tmp_path / "fg", ConvertOptions(dtype="float32")).logits
    assert logits is not None
    assert logits.cast is None


# Windows and original lengths


MISTRAL = Variant("mistral", "window", {"sliding_window": WINDOW})
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}
DEFAULT = {"rope_type": "default", "rope_theta": 10000.0}


@pytest.mark.parametrize("windows", [(WINDOW, None), (None, WINDOW), (WINDOW, WINDOW + 1)])
def test_window_that_the_prompt_does_not_reach(
    windows: tuple[int | None, int | None], tmp_path: Path
) -> None:
    """Whichever of the two models has it."""
    source = write_hf_model(
        tmp_path / "hf", replace(MISTRAL, fields={"sliding_window": windows[0]})
    )
    assert check(source, source, "mistral").are_equal
    changed = write_changed(source, sliding_window=windows[1])
    with pytest.raises(ValidationError, match="Model logits are dissimilar"):
        check(source, changed, "mistral")


@pytest.mark.parametrize("length", [WINDOW, FAR])
@pytest.mark.parametrize("order", [1, -1])
def test_frequencies_that_change_behind_the_prompt(length: int, order: int, tmp_path: Path) -> None:
    """However far it is: positions are only numbers."""
    source = write_hf_model(tmp_path / "hf", PLAIN)
    plain, dynamic = (
        {
            "max_position_embeddings": length,
            "rope_parameters": rope,
            "rope_scaling": None if rope is DEFAULT else rope,
        }
        for rope in (DEFAULT, DYNAMIC)
    )
    one, other = (
        write_changed(source, **fields).rename(tmp_path / name)
        for fields, name in ((plain, "plain"), (dynamic, "dynamic"))
    )
    first, second = (one, other)[::order]
    assert check(other, other).are_equal
    with pytest.raises(ValidationError, match="Model logits are dissimilar"):
        check(first, second)


def message(action: Callable[[], object]) -> str:
    with logged() as messages:
        action()
    (found,) = [text for text in messages if text.startswith("Logits are identical")]
    return found


@pytest.mark.parametrize(
    ("window", "rope", "expected"),
    [
        (None, None, "over 51 positions"),
        (8, None, "over 51 positions, past the window of 8"),
        (WINDOW, None, "over 115 positions, past the window of 48"),
        (
            WINDOW,
            {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 40},
            "over 115 positions, past the original length of 40 and the window of 48",
        ),
        (
            FAR,
            None,
            "over 51 positions (the window of 1000000 was not reached: too long for a check of "
            "this size)",
        ),
        (
            8,
            {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": FAR},
            "over 67 positions, past the window of 8 and the original length of 1000000",
        ),
    ],
)
def test_log_says_what_was_compared(
    window: int | None, rope: dict[str, Any] | None, expected: str, tmp_path: Path
) -> None:
    source = write_hf_model(
        tmp_path / "hf",
        Variant(
            "mistral",
            "any",
            {"sliding_window": window, "max_position_embeddings": 4 * FAR, "head_dim": 16},
            rope=rope,
        ),
    )
    found = message(lambda: convert(source, tmp_path / "fg"))
    assert found == f"Logits are identical {expected}"


# Logits that are not numbers


def scaled(factor: float, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    """Weights whose products overflow."""
    state = random_state(PLAIN, dtype)
    state["lm_head.weight"] *= factor
    return state


def test_models_that_overflow_alike_are_not_equal(tmp_path: Path) -> None:
    """Their logits say nothing about the weights."""
    state = scaled(1e38)
    state["model.norm.weight"] *= 1e38
    source = write_hf_model(tmp_path / "hf", PLAIN, state=state)
    with pytest.raises(ValidationError, match="Model logits are not numbers") as caught:
        convert(source, tmp_path / "fg")
    assert "the source's weights are all finite" in str(caught.value)
    assert "--no-logit-check" in str(caught.value)
    assert not (tmp_path / "fg").exists()


def test_overflow_of_float16_is_explained(tmp_path: Path) -> None:
    state = scaled(1e4, torch.bfloat16)
    state["model.norm.weight"] *= 1e4
    source = write_hf_model(tmp_path / "hf", PLAIN, "bfloat16", state=state)
    with pytest.raises(ValidationError, match="float16 cannot hold values above 65504") as caught:
        convert(source, tmp_path / "fg", ConvertOptions(dtype="float16"))
    assert "--dtype bfloat16" in str(caught.value)
    assert convert(source, tmp_path / "fg").logits is not None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_source_that_holds_nan_is_converted_and_the_rest_compared(
    value: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = random_state(PLAIN, torch.float32)
    state["lm_head.weight"][5, 3] = value
    state["lm_head.weight"][5, 4] = -value
    state["model.norm.weight"][3:5] = 0.0
    source = write_hf_model(tmp_path / "hf", PLAIN, state=state)
    with logged(level=30) as warnings:
        convert(source, tmp_path / "fg")
    (warning,) = [text for text in warnings if "NaN" in text]
    assert "'lm_head.weight' contains NaN or infinite values" in warning
    assert "51 of 8160 logits" in warning
    assert "proves nothing" not in warning

    def execute_badly(plan: Any, staged: Path, *arguments: Any) -> None:
        execute(plan, staged, *arguments)
        weights = staged / "model.safetensors"
        data = bytearray(weights.read_bytes())
        data[-1] ^= 0x40
        weights.write_bytes(data)

    monkeypatch.setattr(api, "execute", execute_badly)
    with pytest.raises(ValidationError, match="Model logits are dissimilar"):
        convert(source, tmp_path / "bad")


def test_check_that_proves_nothing_says_so(tmp_path: Path) -> None:
    state = random_state(PLAIN, torch.float32)
    state["model.norm.weight"][0] = float("nan")
    source = write_hf_model(tmp_path / "hf", PLAIN, state=state)
    with logged(level=30) as warnings:
        convert(source, tmp_path / "fg")
    (warning,) = [text for text in warnings if "NaN" in text]
    assert "8160 of 8160 logits" in warning
    assert "the logit check proves nothing" in warning


# Tokens


def test_tokenizer_of_the_result_is_compared(tmp_path: Path) -> None:
    fields = {"vocab_size": 400}
    source = write_hf_model(tmp_path / "hf", replace(PLAIN, fields=fields))
    result = write_changed(source)
    write_byte_level_bpe(source)
    write_byte_level_bpe(result)
    with logged(level=30) as warnings:
        check(source, result)
    assert warnings == []
    write_unigram(result)
    with logged(level=30) as warnings:
        assert check(source, result).are_equal
    (warning,) = warnings
    assert "The tokenizers of source and result split the prompt differently: token 0 is" in warning


def test_tokenizer_that_does_not_load_is_reported_once(tmp_path: Path) -> None:
    """And by the path that the user knows."""
    source = write_hf_model(tmp_path / "hf", PLAIN)
    (source / "tokenizer.json").write_text("{}")
    with logged(level=30) as warnings:
        convert(source, tmp_path / "fg", ConvertOptions(skip_default_tokens=True))
    (warning,) = [text for text in warnings if "cannot be loaded" in text]
    assert warning.startswith(f"The tokenizer in {source} cannot be loaded")


def test_model_that_does_not_run_is_an_error(tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", PLAIN)
    broken = side("result", source, "llama")

    def load() -> Any:
        model = broken.load()
        model.model.layers[1].mlp.up_proj = torch.nn.Linear(3, 3)
        return model

    with pytest.raises(ValidationError, match="The result loads but does not run"):
        check_logits(
            side("source", source, "llama"),
            replace(broken, load=load),
            CheckSettings("float32", "x"),
        )
