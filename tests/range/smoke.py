"""What must work with every version of transformers: one run takes seconds.

``test_versions.py`` runs it for each of them.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from forgather_convert import convert
from forgather_convert.converter_tools.tiny_models import tiny_cases, write_tiny_model
from forgather_convert.discovery.choice import resolve_converter
from forgather_convert.errors import SourceError
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.models.reference import UnreadableConfigError
from forgather_convert.testing.capabilities import why_absent
from support.continuous_batching import assert_same_batches, memory_for_batches
from support.converting import convert_unchecked
from support.directories import differences
from support.models import load_forgather, load_hf, padding_mask, prompt
from support.pairs import Pair, every_attention
from support.variants import variant
from support.workspace import families

VARIANTS = [variant("llama-tied"), variant("mistral-window"), variant("qwen3-layer-types")]
every_variant = pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.id)
float32 = pytest.mark.parametrize("dtype", ["float32"])

__all__ = ["memory_for_batches"]


def test_version_is_the_one_in_question() -> None:
    """The environment has another one, too."""
    assert transformers.__version__ == os.environ["FORGATHER_TRANSFORMERS"]


def cases(hooks: FamilyHooks) -> dict[str, Callable[[], Any]]:
    """A family's first config; of Llama all: what versions compute differently is RoPE."""
    every = tiny_cases(hooks)
    return every if hooks.model_type == "llama" else dict([*every.items()][:1])


CASES = {
    f"{family}, {case}": (hooks, make_config)
    for family in families()
    for hooks in [resolve_converter(family)]
    # A composite's text model is that of another family, and its tiny configs are for its own kit.
    if not hooks.is_composite
    for case, make_config in cases(hooks).items()
}


@pytest.mark.parametrize(("hooks", "make_config"), CASES.values(), ids=list(CASES))
def test_conversion_both_ways(
    hooks: FamilyHooks, make_config: Callable[[], Any], tmp_path: Path
) -> None:
    """With the logit check, and to the same bytes again: they need no second check."""
    absent = why_absent(hooks)
    if absent:
        pytest.skip(absent)
    try:
        config = make_config()
    except UnreadableConfigError as error:
        pytest.skip(str(error))
    source = tmp_path / "hf"
    write_tiny_model(source, hooks, config)
    try:
        convert(source, tmp_path / "fg")
    except SourceError as error:
        if runs_in_transformers(hooks, source):
            raise
        pytest.skip(f"Refused, and transformers cannot run it either: {error}")
    back = convert_unchecked(tmp_path / "fg", tmp_path / "back")
    assert differences(source, back) == []


def runs_in_transformers(hooks: FamilyHooks, directory: Path) -> bool:
    model = hooks.get_hf_model_class().from_pretrained(directory)
    try:
        model(prompt() % model.config.vocab_size)
    # Models raise exceptions of many types.
    except Exception:
        return False
    return True


@every_variant
@float32
@every_attention
@pytest.mark.parametrize("cache", [None, "static"])
def test_generation(pair: Pair, attention: str, cache: str | None) -> None:
    outputs = [
        model.generate(
            prompt(),
            attention_mask=padding_mask(prompt()),
            do_sample=False,
            min_new_tokens=4,
            max_new_tokens=4,
            cache_implementation=cache,
            return_dict_in_generate=True,
            output_logits=True,
        )
        for model in pair.load(attention)
    ]
    assert torch.equal(*(output.sequences for output in outputs))
    assert all(map(torch.equal, *(output.logits for output in outputs)))


@every_variant
@float32
@pytest.mark.usefixtures("memory_for_batches")
def test_continuous_batching(pair: Pair) -> None:
    assert_same_batches(*pair.load())


@pytest.mark.parametrize("model_type", ["mixtral", "qwen3_moe"])
def test_router_logits(model_type: str, tmp_path: Path) -> None:
    hooks = resolve_converter(model_type)
    write_tiny_model(tmp_path / "hf", hooks, next(iter(tiny_cases(hooks).values()))())
    fg = convert_unchecked(tmp_path / "hf", tmp_path / "fg")
    options = {"dtype": torch.bfloat16, "output_router_logits": True}
    classes = (hooks.get_hf_model_class(), transformers.AutoModelForCausalLM)
    expected, actual = (
        model_class.from_pretrained(directory, trust_remote_code=True, **options)(prompt() % 64)
        for model_class, directory in zip(classes, (tmp_path / "hf", fg), strict=True)
    )
    assert torch.equal(expected.logits, actual.logits)
    assert torch.equal(expected.aux_loss, actual.aux_loss)
    assert len(expected.router_logits) == len(actual.router_logits)
    assert all(map(torch.equal, expected.router_logits, actual.router_logits))


class Tokens(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Four sequences to be learnt."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        ids = prompt(batch=4)[index]
        return {"input_ids": ids, "labels": ids}


def train(model: Any, output: Path) -> Path:
    """Trains a model for two steps; gives its checkpoint."""
    arguments = transformers.TrainingArguments(
        output_dir=str(output),
        max_steps=2,
        save_steps=2,
        per_device_train_batch_size=2,
        learning_rate=1e-3,
        # The norm of all gradients is a sum in the order of the parameters.
        max_grad_norm=0.0,
        gradient_checkpointing=True,
        report_to="none",
        use_cpu=True,
        dataloader_pin_memory=False,
        disable_tqdm=True,
    )
    transformers.Trainer(model=model, args=arguments, train_dataset=Tokens()).train()
    return output / "checkpoint-2"


@every_variant
@float32
def test_training(pair: Pair, tmp_path: Path) -> None:
    """What is trained in either format is the same model, also after a conversion of the other."""
    hf, fg = pair.load()
    before = fg(prompt()).logits
    hf_checkpoint, fg_checkpoint = train(hf, tmp_path / "hf"), train(fg, tmp_path / "fg")
    expected = hf.eval()(prompt()).logits
    assert not torch.equal(expected, before)
    back = convert_unchecked(fg_checkpoint, tmp_path / "back")
    options = {"dtype": torch.float32}
    for model in (
        fg.eval(),
        load_forgather(fg_checkpoint, **options),
        load_hf(hf_checkpoint, pair.variant.family, **options),
        load_hf(back, pair.variant.family, **options),
    ):
        assert torch.equal(model(prompt()).logits, expected)


@every_variant
@float32
@torch.no_grad()
def test_offloading(pair: Pair, tmp_path: Path) -> None:
    """The map of devices is made by accelerate; not all of it fits into memory."""
    expected = pair.load()[0](prompt()).logits
    model = load_forgather(
        pair.fg,
        dtype=torch.float32,
        device_map="auto",
        max_memory={"cpu": "400KB"},
        offload_folder=tmp_path,
    )
    assert {*model.hf_device_map.values()} == {"cpu", "disk"}
    assert torch.equal(model(prompt()).logits, expected)
