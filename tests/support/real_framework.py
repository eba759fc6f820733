"""The Forgather framework itself, from a checkout, and what its programs need to run on a CPU.

The checkout is named by ``FORGATHER_FRAMEWORK`` and must be what is installed. Nothing is written
into it: models, projects and data are made in directories of the tests.
"""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from support.converting import edit_config
from support.hub_cache import add_snapshot
from support.models import write_weights
from support.workspace import ROOT

VARIABLE = "FORGATHER_FRAMEWORK"
CHECKOUT = Path(os.environ.get(VARIABLE, ""))
SAMANTHA = CHECKOUT / "examples" / "finetune" / "samantha"
EVALUATION = CHECKOUT / "examples" / "evaluate" / "eval"
_WORKSPACE = ROOT / "tests" / "framework_real" / "workspace"

_WORDS = [
    *("river", "mill", "bridge", "stone", "light", "house", "garden", "winter", "train", "letter"),
    *("music", "window", "morning", "table", "friend", "story", "road", "forest", "bread", "water"),
]
_CHAT_TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] "
    "+ '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_SPECIAL = ["<unk>", "<s>", "</s>", "<pad>", "<|im_start|>", "<|im_end|>"]
MAX_LENGTH = 2048


@dataclass(frozen=True)
class Source:
    """A Hugging Face model to convert.

    Attributes:
        family: Its ``model_type``.
        tied: Whether the head's weights are the embedding's.
        dtype: The dtype of its weights.
        shards: The number of its weights files.
    """

    family: str
    tied: bool = False
    dtype: str = "float32"
    shards: int = 1

    @property
    def id(self) -> str:
        tied = "tied" if self.tied else "untied"
        files = "sharded" if self.shards > 1 else "single"
        return "-".join((self.family, tied, self.dtype, files))

    def write(self, directory: Path) -> Path:
        """Writes the model with its tokenizer."""
        directory.mkdir(parents=True)
        vocab_size = write_tokenizer(directory)
        stem = {"llama": "Llama", "mistral": "Mistral", "qwen3": "Qwen3"}[self.family]
        config = getattr(transformers, f"{stem}Config")(
            vocab_size=vocab_size,
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=MAX_LENGTH,
            tie_word_embeddings=self.tied,
            bos_token_id=1,
            eos_token_id=5,
            pad_token_id=3,
            dtype=self.dtype,
            **({"head_dim": 16} if self.family == "qwen3" else {}),
            **({"sliding_window": None} if self.family == "mistral" else {}),
        )
        torch.manual_seed(0)
        model = getattr(transformers, f"{stem}ForCausalLM")(config)
        model.to(getattr(torch, self.dtype)).save_pretrained(directory)
        if self.shards > 1:
            weights = directory / "model.safetensors"
            write_weights(directory, load_file(weights), self.shards)
            weights.unlink()
        return directory


@dataclass(frozen=True)
class Models:
    """A model in three forms.

    Attributes:
        source: The Hugging Face directory.
        reference: The same, with the head's weights written out: the framework loads no other.
        ours: This project's conversion of it.
        theirs: The framework's own conversion of it.
    """

    source: Path
    reference: Path
    ours: Path
    theirs: Path


def write_reference(source: Path, directory: Path) -> Path:
    """Writes a Hugging Face model as the framework can load it: with tied weights twice.

    It makes no cache. Hugging Face's classes make one while they are trained, and attention to
    what was copied through it rounds in another way.
    """
    model = AutoModelForCausalLM.from_pretrained(source)
    shutil.copytree(source, directory, ignore=shutil.ignore_patterns("*.safetensors*"))
    torch.save(model.state_dict(), directory / "pytorch_model.bin")
    edit_config(directory, use_cache=False)
    return directory


def write_tokenizer(directory: Path) -> int:
    """Writes a tokenizer with a template for chats; gives the number of its tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=_SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    rng = random.Random(1)
    tokenizer.train_from_iterator([_sentence(rng) for _ in range(200)], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="<|im_end|>",
        unk_token="<unk>",
        pad_token="<pad>",
        model_max_length=MAX_LENGTH,
    )
    fast.chat_template = _CHAT_TEMPLATE
    fast.save_pretrained(directory)
    return len(fast)


def write_samantha(cache: Path) -> None:
    """Writes the data set that the framework's projects load into a Hub cache."""
    rng = random.Random(0)
    conversations = [
        {
            "id": str(number),
            "conversations": [
                {"from": ("human", "gpt")[turn % 2], "value": _sentence(rng)}
                for turn in range(2 * rng.randint(1, 3))
            ],
        }
        for number in range(400)
    ]
    source = cache / "samantha"
    source.mkdir(parents=True)
    (source / "samantha-1.1.json").write_text(json.dumps(conversations))
    add_snapshot(cache, "QuixiAI/samantha-data", "0" * 40, source, kind="datasets")


def _sentence(rng: random.Random) -> str:
    return " ".join(rng.choice(_WORDS) for _ in range(rng.randint(4, 14)))


def write_workspace(directory: Path) -> Path:
    """Writes the workspace of these tests; gives its project, which extends ``samantha``."""
    shutil.copytree(_WORKSPACE, directory)
    place = directory / "forgather_workspace" / "base_directories.yaml"
    place.write_text(f'-- set ns.forgather_dir = "{CHECKOUT}"\n')
    return directory / "samantha"


def convert_with_framework(source: Path, destination: Path) -> Path:
    """Converts a model by the framework's own converter, in this process."""
    # The framework's own module: here, this project has one of that name.
    framework: Any = import_module("forgather.ml.model_conversion")
    framework.discover_and_register_converters(None, str(CHECKOUT))
    model_type = json.loads((source / "config.json").read_text())["model_type"]
    converter = framework.get_converter(model_type)()
    converter.convert_to_forgather(str(source), str(destination), prompt="river bridge")
    return destination


@dataclass(frozen=True)
class Training:
    """What the framework's trainer reported."""

    losses: list[float]
    eval_losses: list[float]

    @classmethod
    def read(cls, model: Path) -> "Training":
        """Reads what the newest run in a model's directory wrote."""
        logs = sorted(model.glob("runs/*/trainer_logs.json"), key=lambda path: path.stat().st_mtime)
        entries = json.loads(logs[-1].read_text())
        losses = [entry["loss"] for entry in entries if "loss" in entry]
        return cls(losses, [entry["eval_loss"] for entry in entries if "eval_loss" in entry])


def train(project: Path, model: Path, config: str = "small.yaml", **arguments: Any) -> Training:
    """Runs a configuration of the framework on a model, as its ``train`` does, in this process.

    Args:
        project: The project's directory.
        model: The model's directory, where checkpoints go, too, unless ``output_dir`` is given.
        config: The configuration.
        arguments: Options of the command line, with underscores.
    """
    from forgather.project import Project

    values = {key: str(each) if isinstance(each, Path) else each for key, each in arguments.items()}
    script = Project(config, str(project), model_id_or_path=str(model), **values)()
    script.run()
    return Training.read(Path(values.get("output_dir", model)))


def framework_command(*arguments: str | Path, timeout: int = 300) -> str:
    """Runs the framework's ``forgather`` in a process whose standard input is closed.

    Returns:
        What it printed. Some of its commands end with 0 when the program that they started fails:
        look for what should be there.
    """
    result = subprocess.run(
        [Path(sys.executable).with_name("forgather"), *map(str, arguments)],
        # Unbuffered, so that its own lines come before those of the programs that it starts.
        env=environment(PYTHONUNBUFFERED="1"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def environment(**variables: str) -> dict[str, str]:
    """The variables of a process that finds the scripts of this environment first."""
    scripts = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": os.pathsep.join((scripts, os.environ["PATH"])), **variables}


@contextmanager
def running_server(
    arguments: Sequence[str], port: int, directory: Path | None = None
) -> Iterator[None]:
    """Runs ``forgather`` with arguments that make it a server, until it is no longer needed.

    Args:
        arguments: What starts it.
        port: Where it answers.
        directory: Its working directory.
    """
    process = subprocess.Popen(
        ["forgather", *arguments],
        cwd=directory,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 180
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                os.killpg(process.pid, signal.SIGKILL)
                raise RuntimeError(process.communicate()[0])
            time.sleep(0.2)
        yield
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.communicate(timeout=60)


def _answers(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def load_as_trainer(model: Path, checkpoint: Path | None = None, on_meta: bool = False) -> Any:
    """Builds a model from its config alone and loads its weights, strictly, as the trainer does.

    Args:
        model: The model's directory.
        checkpoint: Where its weights are, if not where the framework finds them.
        on_meta: Whether it is built on the meta device and filled then.
    """
    from forgather.ml.sharded_checkpoint import (
        create_sharing_metadata,
        find_latest_checkpoint,
        load_checkpoint,
        retie_parameters,
    )

    config = AutoConfig.from_pretrained(model, trust_remote_code=True)
    with torch.device("meta" if on_meta else "cpu"):
        built = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    if on_meta:
        sharing = create_sharing_metadata(built)
        built.to_empty(device="cpu")
        retie_parameters(built, sharing)
    load_checkpoint(checkpoint or find_latest_checkpoint(str(model)), built, "cpu", strict=True)
    return built.eval()


def logits(model: Any, ids: torch.Tensor, **arguments: Any) -> torch.Tensor:
    """The logits, of the framework's models, too: they give a bare tensor unless told."""
    with torch.no_grad():
        output: torch.Tensor = model(ids, return_dict=True, **arguments).logits
    return output


def random_ids(batch: int = 2, length: int = 24) -> torch.Tensor:
    """Token ids of the tests' tokenizer, none of them special."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(6, 200, (batch, length), generator=generator)
