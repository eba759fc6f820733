"""The framework's inference server, its client, and its tool for vocabularies."""

import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from forgather_convert import convert
from support.converting import edit_config
from support.real_framework import (
    Models,
    Source,
    framework_command,
    load_as_trainer,
    running_server,
    train,
)

GetModels = Callable[[Source], Models]
PROMPTS = ("river bridge stone", "morning table", "a letter", "winter train", "the garden of bread")
TOKENS = """
special_tokens:
  - "<|tool|>"
"""


@contextmanager
def server(*arguments: str | Path) -> Iterator[str]:
    """Runs ``forgather inf server`` on a CPU; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ("-d", "cpu", "-T", "float32", "--port", str(port))
    with running_server(("inf", "server", *options, *map(str, arguments)), port):
        yield f"http://127.0.0.1:{port}/v1"


def complete(url: str, prompt: str) -> str:
    """What ``forgather inf client`` prints as the continuation."""
    client = ("inf", "client", "--url", url, "--completion", prompt, "--max-tokens", "8")
    log = framework_command(*client, "--temperature", "0", "--no-stream", "--no-echo")
    assert "Error" not in log
    # The first lines say which program was started.
    return log.partition("\n\n")[2].strip()


def greedy(model: Path, checkpoint: Path) -> list[str]:
    """The continuations of all prompts as transformers computes them."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    loaded = load_as_trainer(model, checkpoint=checkpoint).float()
    texts = []
    for prompt in PROMPTS:
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        output = loaded.generate(ids, max_new_tokens=8, do_sample=False, use_cache=True)
        texts.append(tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True).strip())
    return texts


@pytest.mark.parametrize(
    "source",
    [
        Source("llama", tied=True, dtype="bfloat16", shards=3),
        Source("qwen3", tied=False, dtype="float32", shards=1),
    ],
    ids=lambda source: source.id,
)
def test_server_and_client(
    source: Source, models: GetModels, project: Path, tmp_path: Path
) -> None:
    model = shutil.copytree(models(source).ours, tmp_path / "model")
    train(project, model, lr=2e-3, max_steps=8)
    trained = greedy(model, model / "checkpoints" / "checkpoint-8")
    untrained = greedy(model, model)
    # A prompt that both continue, and differently.
    prompt, expected, before = next(
        (prompt, new, old)
        for prompt, new, old in zip(PROMPTS, trained, untrained, strict=True)
        if new and old and new != old
    )
    with server("-c", "-m", model) as url:
        assert complete(url, prompt) == expected
    with server("-m", model) as url:
        assert complete(url, prompt) == before
    shutil.rmtree(model / "checkpoints")
    with server("-c", "-m", model) as url:
        assert complete(url, prompt) == before


@pytest.mark.parametrize("save_format", ["huggingface", "sharded"])
@pytest.mark.parametrize(
    "source",
    [Source("mistral", tied=True), Source("qwen3", dtype="bfloat16", shards=3)],
    ids=lambda source: source.id,
)
def test_update_vocab(
    source: Source, save_format: str, models: GetModels, project: Path, tmp_path: Path
) -> None:
    """A model with one token more trains, is converted back, and has its old rows."""
    made = models(source)
    tokens = tmp_path / "tokens.yaml"
    tokens.write_text(TOKENS)
    larger = tmp_path / "larger"
    options = ("--add-tokens", tokens, "--save-format", save_format, "--trust-remote-code")
    framework_command("update-vocab", *options, made.ours, larger)
    tokenizer = AutoTokenizer.from_pretrained(larger)
    if save_format == "sharded":
        # The tool leaves the old size in the config, with the framework's own models, too.
        edit_config(larger, vocab_size=len(tokenizer))
    old = AutoModelForCausalLM.from_pretrained(made.source).state_dict()
    assert len(tokenizer) == len(old["lm_head.weight"]) + 1
    assert len(train(project, larger, save_strategy="no").losses) == 12

    convert(larger, tmp_path / "hf")
    new = AutoModelForCausalLM.from_pretrained(tmp_path / "hf").state_dict()
    assert new.keys() == old.keys()
    for name, value in old.items():
        assert torch.equal(new[name][: len(value)], value), name
    assert len(new["lm_head.weight"]) == len(tokenizer)
