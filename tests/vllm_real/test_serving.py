"""Converted models of every family in the real vLLM, by its transformers backend.

These tests are run by ``tox run -e vllm``. Every build of vLLM loads models on a CPU; one
for CPUs also generates there.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from vllm.config import set_current_vllm_config
from vllm.distributed import init_distributed_environment, initialize_model_parallel
from vllm.engine.arg_utils import EngineArgs
from vllm.model_executor.model_loader import get_model_loader
from vllm.model_executor.model_loader.utils import initialize_model
from vllm.utils.torch_utils import set_default_torch_dtype

from forgather_convert import ConvertOptions, convert, save_as_hf
from forgather_convert.discovery.choice import find_converters, resolve_converter
from forgather_convert.testing.models import write_model
from forgather_convert.testing.tokenizer import write_tokenizer

MODELS = [
    (found.model_type, name)
    for found in find_converters()
    for name in resolve_converter(str(found.model_type)).get_tiny_configs()
]
IDS = [f"{model_type}-{config}" for model_type, config in MODELS]
GENERATE = Path(__file__).with_name("generate.py")
#: The kernels of vLLM for attention on a CPU have no smaller heads.
HEAD_DIM = 32

has_kernels = hasattr(torch.ops._C, "cpu_attention_with_kv_cache")


def write_pair(directory: Path, model_type: str, config: str, **fields: Any) -> tuple[Path, Path]:
    """Writes a tiny model with a tokenizer and converts it."""
    hooks = resolve_converter(model_type)
    source, destination = directory / "hf", directory / "fg"
    source.mkdir()
    size = write_tokenizer(source)
    fields = {**hooks.get_tiny_configs()[config], "vocab_size": size, "pad_token_id": 3, **fields}
    write_model(source, hooks, fields)
    convert(source, destination, ConvertOptions(logit_check=False))
    return source, destination


def engine_config(directory: Path) -> Any:
    """What ``vllm serve --model-impl transformers --trust-remote-code`` makes of a directory."""
    arguments = EngineArgs(
        model=str(directory),
        model_impl="transformers",
        trust_remote_code=True,
        dtype="float32",
        enforce_eager=True,
        max_model_len=64,
    )
    return arguments.create_engine_config()


@pytest.fixture(scope="module", autouse=True)
def _one_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    place = tmp_path_factory.mktemp("vllm")
    # For a model without experts, there would be no group for them.
    _, directory = write_pair(place, "mixtral", "plain")
    with set_current_vllm_config(engine_config(directory)):
        init_distributed_environment(1, 0, f"file://{place}/rendezvous", 0, "gloo")
        initialize_model_parallel(1, 1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize(("model_type", "config"), MODELS, ids=IDS)
def test_every_parameter_is_loaded(model_type: str, config: str, tmp_path: Path) -> None:
    _, directory = write_pair(tmp_path, model_type, config)
    settings = engine_config(directory)
    assert settings.model_config.using_transformers_backend()
    with set_current_vllm_config(settings), set_default_torch_dtype(torch.float32):
        model = initialize_model(vllm_config=settings)
        loader = get_model_loader(settings.load_config)
        loaded = model.load_weights(loader.get_all_weights(settings.model_config, model))
    names = {name for name, _ in model.named_parameters()}
    assert names <= set(loaded)
    assert len(model.attention_fusers) == settings.model_config.hf_config.num_hidden_layers


def generated(
    directory: Path, result: Path, *arguments: str | Path
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(GENERATE), str(directory), str(result), *map(str, arguments)]
    environment = {**os.environ, "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.skipif(not has_kernels, reason="This build of vLLM cannot compute here")
@pytest.mark.parametrize(
    ("model_type", "config"),
    [("llama", "plain"), ("mistral", "window"), ("qwen3", "tied"), ("qwen3_moe", "plain")],
)
def test_it_generates_what_it_generates_from_the_source(
    model_type: str, config: str, tmp_path: Path
) -> None:
    """The same tokens with the same probabilities."""
    results = []
    for directory in write_pair(tmp_path, model_type, config, head_dim=HEAD_DIM):
        result = tmp_path / f"{directory.name}.json"
        process = generated(directory, result)
        assert process.returncode == 0, process.stderr[-4000:]
        results.append(json.loads(result.read_text()))
    assert results[0] == results[1]


@pytest.mark.skipif(not has_kernels, reason="This build of vLLM cannot compute here")
@pytest.mark.parametrize(("model_type", "config"), [("llama", "plain"), ("qwen3", "tied")])
def test_a_server_gets_the_weights_of_a_model_in_memory(
    model_type: str, config: str, tmp_path: Path
) -> None:
    """It then generates what a server of the saved model generates, and not what it did before."""
    source, directory = write_pair(tmp_path, model_type, config, head_dim=HEAD_DIM)
    model = AutoModelForCausalLM.from_pretrained(directory, trust_remote_code=True)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    trained, saved = tmp_path / "trained", tmp_path / "saved"
    model.save_pretrained(trained)
    save_as_hf(model, saved, AutoTokenizer.from_pretrained(source))
    results: list[Any] = []
    for arguments in ((source, "auto"), (saved, "auto"), (source, "auto", trained)):
        result = tmp_path / f"{len(results)}.json"
        process = generated(arguments[0], result, *arguments[1:])
        assert process.returncode == 0, process.stderr[-4000:]
        results.append(json.loads(result.read_text()))
    before, expected, updated = results
    assert updated == expected
    assert updated != before


@pytest.mark.skipif(not has_kernels, reason="This build of vLLM cannot compute here")
def test_sinks_are_refused(tmp_path: Path) -> None:
    """It takes the activation of gpt-oss's experts only where the architecture is called so."""
    _, directory = write_pair(tmp_path, "gpt_oss", "plain", head_dim=HEAD_DIM)
    process = generated(directory, tmp_path / "result.json")
    assert process.returncode != 0
    assert "applies attention sinks, but they were not passed" in process.stderr
