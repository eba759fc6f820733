"""Times conversions against copying and against transformers, side by side."""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

LAYER_BYTES = 405_000_000
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-05,
    "tie_word_embeddings": True,
    "dtype": "bfloat16",
}
LOAD_AND_SAVE = """
import sys, torch
from transformers import LlamaForCausalLM
model = LlamaForCausalLM.from_pretrained(sys.argv[1], dtype=torch.bfloat16)
model.save_pretrained(sys.argv[2])
"""


def make_model(directory: Path, gigabytes: float) -> None:
    """Writes a Llama of about a size, with random weights, by transformers."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    layers = max(1, round(gigabytes * 1e9 / LAYER_BYTES))
    torch.set_default_dtype(torch.bfloat16)
    model = LlamaForCausalLM(LlamaConfig(**{**CONFIG, "num_hidden_layers": layers}))
    model.save_pretrained(directory)


def command(*arguments: str | Path) -> Callable[[], None]:
    def run() -> None:
        subprocess.run([*map(str, arguments)], check=True, capture_output=True)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--directory", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as temporary:
        root = Path(temporary)
        make_model(root / "hf", options.gigabytes)
        size = sum(path.stat().st_size for path in (root / "hf").iterdir())
        convert = [sys.executable, "-m", "forgather_convert", "convert"]
        out = root / "out"
        command(*convert, root / "hf", root / "fg", "--no-logit-check")()
        contenders = {
            "cp -r": command("cp", "-r", root / "hf", out),
            "load and save with transformers": command(
                sys.executable, "-c", LOAD_AND_SAVE, root / "hf", out
            ),
            "convert to Forgather": command(*convert, "--no-logit-check", root / "hf", out),
            "convert to Forgather, checked": command(*convert, root / "hf", out),
            "convert to Hugging Face": command(*convert, "--no-logit-check", root / "fg", out),
            "convert to Hugging Face, checked": command(*convert, root / "fg", out),
        }
        times: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(options.runs):
            for name, run in contenders.items():
                os.sync()
                start = time.perf_counter()
                run()
                times[name].append(time.perf_counter() - start)
                shutil.rmtree(out)
        medians = {name: statistics.median(values) for name, values in times.items()}
        print(f"{size / 1e9:.2f} GB, median of {options.runs} runs, relative to cp -r")
        for name, median in medians.items():
            print(f"{name:34} {median:7.2f} s  {median / medians['cp -r']:6.2f}")
        print(json.dumps({"bytes": size, "seconds": times}))


if __name__ == "__main__":
    main()
