"""Compares decoding with a Forgather model and with the original, token by token in turn."""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

PROMPT_LENGTH = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("hf", type=Path, help="the Hugging Face directory")
    parser.add_argument("fg", type=Path, help="what it was converted to")
    parser.add_argument("--tokens", type=int, default=16, help="how many are decoded in a round")
    parser.add_argument("--rounds", type=int, default=50, help="how many rounds both run in turn")
    parser.add_argument("--attention", default="sdpa", help="the attention implementation")
    options = parser.parse_args()

    torch.set_num_threads(1)
    models = {name: load(getattr(options, name), options.attention) for name in ("hf", "fg")}
    for model in models.values():
        decode(model, options.tokens)
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for number in range(options.rounds):
        # Each is first in every second round.
        for name in sorted(models, reverse=bool(number % 2)):
            seconds[name].append(decode(models[name], options.tokens) / options.tokens)
    for name, times in seconds.items():
        best, median = min(times) * 1e6, statistics.median(times) * 1e6
        print(f"{name}: {best:.0f} us of CPU time a token at best, {median:.0f} us in the median")
    ratio = statistics.median(hf / fg for hf, fg in zip(seconds["hf"], seconds["fg"], strict=True))
    print(f"hf / fg: {ratio:.3f} in the median of the rounds")


def load(directory: Path, attention: str) -> Any:
    return AutoModelForCausalLM.from_pretrained(
        directory, trust_remote_code=True, attn_implementation=attention
    ).eval()


def decode(model: Any, tokens: int) -> float:
    """Generates tokens, and gives the CPU seconds that it took."""
    ids = torch.arange(PROMPT_LENGTH)[None]
    before = time.process_time()
    model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        min_new_tokens=tokens,
        max_new_tokens=tokens,
        do_sample=False,
    )
    return time.process_time() - before


if __name__ == "__main__":
    main()
