"""A converted model computes what the original computes, bit for bit, however it is called.

That it does so for a prompt, token by token and in greedy generation, is proven for every config by
the conformance kit.

Nothing here has a tolerance: a difference in the last bit is a difference in the order
of the operations, and grows with the depth of the model.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from torch.nn.attention import flex_attention as flex_module
from torch.nn.attention.flex_attention import flex_attention
from transformers import masking_utils
from transformers.integrations import flex_attention as flex_integration
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from support.models import padding_mask, prompt
from support.pairs import Pair, every_attention, every_dtype, every_family, every_variant
from support.variants import BASE, PROMPT_LENGTH, VARIANTS, variant

float32 = pytest.mark.parametrize("dtype", ["float32"])


def mask() -> torch.Tensor:
    return padding_mask(prompt())


def unequal(ones: Any, others: Any) -> list[int]:
    """The places where two sequences of tensors differ."""
    pairs = enumerate(zip(ones, others, strict=True))
    return [place for place, (one, other) in pairs if not torch.equal(one, other)]


GENERATION_MODES: dict[str, dict[str, Any]] = {
    "beams": {"do_sample": False, "num_beams": 3},
    "sampling": {"do_sample": True, "temperature": 0.7, "top_k": 20},
    "static-cache": {"do_sample": False, "cache_implementation": "static"},
    "no-cache": {"do_sample": False, "use_cache": False},
}


@pytest.mark.parametrize(
    "variant",
    [
        variant("llama-default"),
        variant("llama-dynamic-long"),
        variant("llama-longrope"),
        variant("mistral-window"),
        variant("qwen3-tied"),
        variant("qwen3-layer-types"),
    ],
    ids=lambda variant: variant.id,
)
@float32
@every_attention
@pytest.mark.parametrize("mode", GENERATION_MODES)
def test_other_ways_to_generate(pair: Pair, attention: str, mode: str) -> None:
    sequences = []
    for model in pair.load(attention):
        torch.manual_seed(3)
        sequences.append(
            model.generate(
                prompt(),
                attention_mask=mask(),
                min_new_tokens=8,
                max_new_tokens=8,
                **GENERATION_MODES[mode],
            )
        )
    assert torch.equal(*sequences)


@every_family
@float32
def test_prompt_lookup_decoding(pair: Pair) -> None:
    """The cache is cut back where a guess was wrong, which no other way to generate does."""
    ids = prompt(batch=1).repeat(1, 2)
    options = {"do_sample": False, "max_new_tokens": 12, "prompt_lookup_num_tokens": 4}
    outputs = [model.generate(ids, **options) for model in pair.load()]
    assert torch.equal(*outputs)


@every_variant
@every_dtype
@torch.no_grad()
def test_hidden_states_attentions_and_loss(pair: Pair) -> None:
    hf, fg = (
        model(
            prompt(),
            attention_mask=mask(),
            labels=prompt(),
            output_hidden_states=True,
            output_attentions=True,
        )
        for model in pair.load("eager")
    )
    assert unequal(hf.hidden_states, fg.hidden_states) == []
    assert unequal(hf.attentions, fg.attentions) == []
    assert torch.equal(hf.loss, fg.loss)


def _prepared_mask() -> torch.Tensor:
    """A mask ``[batch, 1, query, key]`` that hides every third token."""
    visible = torch.ones(PROMPT_LENGTH, PROMPT_LENGTH, dtype=torch.bool).tril()
    visible[:, 2::3] = False
    return visible.expand(2, 1, -1, -1)


ARGUMENTS: dict[str, Callable[[], dict[str, Any]]] = {
    "last-logits": lambda: {"logits_to_keep": 3},
    "chosen-logits": lambda: {"logits_to_keep": torch.tensor([5, 0, 11])},
    "positions": lambda: {"position_ids": torch.arange(7, 7 + PROMPT_LENGTH).unsqueeze(0)},
    "packed-sequences": lambda: {
        "position_ids": (torch.arange(PROMPT_LENGTH) % 15).expand(2, -1),
        "use_cache": False,
    },
    "prepared-mask": lambda: {"attention_mask": _prepared_mask()},
    "tuple": lambda: {"return_dict": False},
    "loss-over-a-batch": lambda: {"labels": prompt(), "num_items_in_batch": 100},
    "masked-labels": lambda: {"labels": prompt().masked_fill(prompt() % 3 == 0, -100)},
}


@every_family
@float32
@pytest.mark.parametrize("arguments", ARGUMENTS)
@torch.no_grad()
def test_arguments_of_the_forward_pass(pair: Pair, arguments: str) -> None:
    hf, fg = (model(prompt(), **ARGUMENTS[arguments]()) for model in pair.load())
    if not isinstance(hf, tuple):
        hf, fg = hf.to_tuple(), fg.to_tuple()
    assert len(hf) == len(fg)
    tensors = [[part for part in parts if torch.is_tensor(part)] for parts in (hf, fg)]
    assert unequal(*tensors) == []


@every_family
@float32
def test_embeddings_as_input(pair: Pair) -> None:
    hf, fg = pair.load()
    embeddings = hf.get_input_embeddings()(prompt()).detach()
    assert torch.equal(fg.get_input_embeddings()(prompt()), embeddings)
    outputs = [
        model.generate(
            inputs_embeds=embeddings,
            attention_mask=mask(),
            do_sample=False,
            max_new_tokens=8,
        )
        for model in (hf, fg)
    ]
    assert torch.equal(*outputs)


@pytest.mark.parametrize(
    "variant",
    [v for v in VARIANTS if v.rope and v.rope["rope_type"] in ("dynamic", "longrope")],
    ids=lambda variant: variant.id,
)
@every_dtype
@torch.no_grad()
def test_frequencies_that_depend_on_earlier_prompts(pair: Pair) -> None:
    """Dynamic frequencies grow with a prompt, stay for the next, and shrink after a short one."""
    hf, fg = pair.load()
    longest = hf.config.max_position_embeddings
    lengths = [longest + 20, 10, longest + 5, longest, longest + 40, longest + 1, 31, longest + 2]
    prompts = [prompt(length=length) for length in lengths]
    logits = [[model(ids).logits for ids in prompts] for model in (hf, fg)]
    assert unequal(*logits) == []


@every_variant
@every_dtype
@torch.no_grad()
def test_base_model(pair: Pair) -> None:
    """Embedding models and other heads are built on AutoModel."""
    options = {"dtype": getattr(torch, pair.dtype)}
    hf = transformers.AutoModel.from_pretrained(pair.hf, **options).eval()
    fg = transformers.AutoModel.from_pretrained(pair.fg, trust_remote_code=True, **options).eval()
    outputs = [model(prompt(), attention_mask=mask()).last_hidden_state for model in (hf, fg)]
    assert torch.equal(*outputs)


@every_variant
@float32
def test_config(pair: Pair) -> None:
    """A Forgather config says the same by the same names."""
    hf = transformers.AutoConfig.from_pretrained(pair.hf)
    fg = transformers.AutoConfig.from_pretrained(pair.fg, trust_remote_code=True)
    assert {name: getattr(fg, name) for name in BASE} == {name: getattr(hf, name) for name in BASE}


@every_family
@float32
@torch.no_grad()
def test_switch_of_the_attention_implementation(pair: Pair) -> None:
    hf, fg = pair.load("eager")
    for attention in ("sdpa", "eager"):
        for model in (hf, fg):
            model.set_attn_implementation(attention)
        assert fg.causal_lm.config._attn_implementation == attention
        inputs = {"attention_mask": mask(), "output_attentions": attention == "eager"}
        outputs = [model(prompt(), **inputs) for model in (hf, fg)]
        assert torch.equal(outputs[0].logits, outputs[1].logits)


@every_variant
@float32
@torch.no_grad()
def test_arguments_of_the_attention_function(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flash attention takes the window from its arguments, where eager and sdpa have masks."""
    calls: list[dict[str, Any]] = []

    def record(module: Any, query: torch.Tensor, *args: Any, **kwargs: Any) -> tuple[Any, None]:
        names = ("scaling", "dropout", "sliding_window", "is_causal")
        named = {name: kwargs[name] for name in names if kwargs.get(name) is not None}
        calls.append({**named, "layer": module.layer_idx, "causal": module.is_causal})
        return query.transpose(1, 2), None

    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS, "recording", record)
    hf, fg = pair.load("recording")
    hf(prompt())
    expected = calls.copy()
    calls.clear()
    fg(prompt())
    assert len(calls) == fg.config.num_hidden_layers
    assert calls == expected


def _block_mask_without_compiling(**arguments: Any) -> Any:
    return flex_module.create_block_mask(**{**arguments, "_compile": False})


@pytest.mark.parametrize("variant", [variant("qwen3-layer-types")], ids=["qwen3-layer-types"])
@float32
@torch.no_grad()
def test_flex_attention(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same masks and arguments for the kernel, for both kinds of layers.

    The kernel is not compiled: on a CPU, the compiled one does not repeat its own results.
    """
    monkeypatch.setattr(flex_integration.WrappedFlexAttention, "__call__", lambda _: flex_attention)
    monkeypatch.setattr(flex_integration.WrappedFlexAttention, "__init__", lambda *_: None)
    # Nor is anything traced, which takes longer than all the other tests together.
    monkeypatch.setattr(flex_module, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)
    monkeypatch.setattr(masking_utils, "create_block_mask", _block_mask_without_compiling)
    hf, fg = pair.load("flex_attention")
    inputs = {"input_ids": prompt(), "attention_mask": mask()}
    expected = hf(**inputs).logits
    assert torch.equal(hf(**inputs).logits, expected)
    assert torch.equal(fg(**inputs).logits, expected)
