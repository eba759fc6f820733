"""The Forgather model against the Hugging Face class: prefill, decoding, a training step."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

PROMPT_LENGTH = 128
NEW_TOKENS = 16
TITLES = ("", "Hugging Face, ms", "Forgather, ms", "HF / FG")


def rows(hf: Path, fg: Path, rounds: int) -> list[tuple[str, ...]]:
    """Both in turn, on one thread; the ratio is the median of the rounds' ratios."""
    torch.set_num_threads(1)
    models = [
        AutoModelForCausalLM.from_pretrained(path, trust_remote_code=True, dtype=torch.float32)
        for path in (hf, fg)
    ]
    actions: dict[str, Callable[[Any], None]] = {
        f"prefill, {PROMPT_LENGTH} positions": prefill,
        f"decoding, {NEW_TOKENS} tokens": decode,
        "training step": train,
    }
    result = []
    for name, action in actions.items():
        for model in models:
            action(model)
        pairs = [_timed(action, models, is_reversed=bool(number % 2)) for number in range(rounds)]
        ratio = statistics.median(one / other for one, other in pairs)
        columns = (statistics.median(column) * 1e3 for column in zip(*pairs, strict=True))
        result.append((name, *(f"{value:.1f}" for value in columns), f"{ratio:.3f}"))
    return result


def _timed(
    action: Callable[[Any], None], models: list[Any], *, is_reversed: bool
) -> tuple[float, float]:
    seconds = [0.0, 0.0]
    for index in (1, 0) if is_reversed else (0, 1):
        before = time.process_time()
        action(models[index])
        seconds[index] = time.process_time() - before
    return seconds[0], seconds[1]


def _prompt() -> torch.Tensor:
    return torch.arange(5, 5 + PROMPT_LENGTH)[None]


def prefill(model: Any) -> None:
    with torch.no_grad():
        model.eval()(_prompt())


def decode(model: Any) -> None:
    ids = _prompt()[:, :8]
    model.eval().generate(
        ids,
        attention_mask=torch.ones_like(ids),
        min_new_tokens=NEW_TOKENS,
        max_new_tokens=NEW_TOKENS,
        do_sample=False,
    )


def train(model: Any) -> None:
    model.train()(_prompt(), labels=_prompt()).loss.backward()
    model.zero_grad()
