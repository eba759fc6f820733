"""Converted models are divided among devices by accelerate, as ``device_map`` asks for.

There is one device here. What is moved to and fro is offloaded weights; how a model would be
divided among several GPUs is what accelerate plans, which needs none.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import infer_auto_device_map, init_empty_weights
from accelerate.utils import get_balanced_memory
from transformers import AutoConfig, AutoModelForCausalLM

from support.models import load_forgather, prompt
from support.pairs import Pair
from support.variants import variant

one_tied_one_not = pytest.mark.parametrize(
    "variant", [variant("llama-tied"), variant("qwen3-untied")], ids=lambda variant: variant.id
)
float32 = pytest.mark.parametrize("dtype", ["float32"])
every_strategy = pytest.mark.parametrize("strategy", ["auto", "balanced", "sequential"])


@one_tied_one_not
@float32
@every_strategy
@torch.no_grad()
def test_offloading_to_disk(pair: Pair, strategy: str, tmp_path: Path) -> None:
    hf, _ = pair.load("eager")
    fg = load_forgather(
        pair.fg,
        dtype=torch.float32,
        attn_implementation="eager",
        device_map=strategy,
        max_memory={"cpu": "400KB"},
        offload_folder=tmp_path,
    )
    assert {*fg.hf_device_map.values()} == {"cpu", "disk"}
    expected, actual = (model(prompt(), output_attentions=True) for model in (hf, fg))
    assert torch.equal(expected.logits, actual.logits)
    assert len(actual.attentions) == fg.config.num_hidden_layers
    assert all(map(torch.equal, expected.attentions, actual.attentions))
    tokens = [model.generate(prompt(), max_new_tokens=3, do_sample=False) for model in (hf, fg)]
    assert torch.equal(*tokens)


def empty(directory: Path) -> Any:
    """A model without values."""
    config = AutoConfig.from_pretrained(directory, trust_remote_code=True)
    with init_empty_weights():
        return AutoModelForCausalLM.from_config(config, trust_remote_code=True)


@one_tied_one_not
@float32
@every_strategy
def test_division_among_gpus(pair: Pair, strategy: str) -> None:
    """Each layer is on one device, and the whole model on all of them."""
    model = empty(pair.fg)
    model.tie_weights()
    sizes: dict[int | str, int] = {0: 400_000, 1: 400_000, "cpu": 4_000_000}
    options = {"no_split_module_classes": list(model._no_split_modules)}
    if strategy != "sequential":
        sizes = get_balanced_memory(model, max_memory=sizes, **options)
    device_map = infer_auto_device_map(model, max_memory=sizes, **options)
    assert {0, 1} <= {*device_map.values()}

    def device_of(name: str) -> int | str:
        device: int | str
        (device,) = {
            device for part, device in device_map.items() if f"{name}.".startswith(f"{part}.")
        }
        return device

    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    devices = {name: device_of(name) for name in names}
    for index in range(model.config.num_hidden_layers):
        layer = f"causal_lm.layer_stack.layers.{index}."
        assert len({devices[name] for name in names if name.startswith(layer)}) == 1
    if model.config.tie_word_embeddings:
        embedding = "causal_lm.input_encoder.embedding.word_embedding.weight"
        assert devices["lm_head.weight"] == devices[embedding]
