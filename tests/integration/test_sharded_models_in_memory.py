"""Models that are divided among processes (FSDP2, tensor parallelism) are saved and filled."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    parallelize_module,
)

from forgather_convert import (
    ConvertOptions,
    ForgatherConvertError,
    HFCheckpointCallback,
    OptionError,
    UnsupportedModelError,
    convert,
    hf_weights,
    load_hf_weights,
    save_as_hf,
)
from forgather_convert.execution.byte_copy import write_at
from forgather_convert.in_memory import gathering
from support.directories import differences
from support.memory import anonymous_memory, peak_memory
from support.models import load_forgather, write_hf_model
from support.processes import run_together
from support.running_conversion import remains
from support.variants import Variant, variant

pytestmark = pytest.mark.version_independent

#: Heads that two processes can share; sizes that four cannot divide evenly.
_TIED = variant("llama-tied")
_BIASES = variant("llama-biases")

_WRITE_AT = "forgather_convert.execution.shard_parts.write_at"
_PLAN = {
    "attention.query_linear": ColwiseParallel(),
    "attention.key_linear": ColwiseParallel(),
    "attention.value_linear": ColwiseParallel(),
    "attention.output_linear": RowwiseParallel(),
    "feedforward.gate_proj": ColwiseParallel(),
    "feedforward.up_proj": ColwiseParallel(),
    "feedforward.down_proj": RowwiseParallel(),
}


def _fsdp(model: Any) -> None:
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    _shard(model, mesh)


def _shard(model: Any, mesh: Any) -> None:
    for layer in model.causal_lm.layer_stack.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)


def _tensor_parallel(model: Any) -> None:
    _parallelize(model, init_device_mesh("cpu", (dist.get_world_size(),)))


def _parallelize(model: Any, mesh: Any) -> None:
    for layer in model.causal_lm.layer_stack.layers:
        parallelize_module(layer, mesh, _PLAN)


def _both(model: Any) -> None:
    mesh = init_device_mesh("cpu", (2, dist.get_world_size() // 2), mesh_dim_names=("dp", "tp"))
    _parallelize(model, mesh["tp"])
    _shard(model, mesh["dp"])


def _replicated(model: Any) -> None:
    shape = (2, dist.get_world_size() // 2)
    _shard(model, init_device_mesh("cpu", shape, mesh_dim_names=("replicate", "shard")))


_DIVISIONS = {
    "fsdp": (2, _fsdp),
    "tensor-parallel": (2, _tensor_parallel),
    "fsdp-4": (4, _fsdp),
    "both": (4, _both),
    "hybrid": (4, _replicated),
}
#: Of the model with biases, whose sizes are as uneven, only one.
_CASES = [*((_TIED, name) for name in _DIVISIONS), (_BIASES, "fsdp-4")]
every_division = pytest.mark.parametrize(
    ("models", "division"),
    _CASES,
    indirect=["models"],
    ids=[f"{model.id}-{name}" for model, name in _CASES],
)


class Models:
    """A model in both formats, and what its trained form is converted to."""

    def __init__(self, parent: Path, chosen: Variant) -> None:
        self.hf = write_hf_model(parent / "hf", chosen, "float32")
        self.fg = parent / "fg"
        convert(self.hf, self.fg, ConvertOptions(logit_check=False))
        self.trained = parent / "trained"
        trained(self.fg).save_pretrained(parent / "checkpoint")
        options = ConvertOptions(logit_check=False, checkpoint_path=parent / "checkpoint")
        convert(self.fg, self.trained, options)


def trained(directory: Path) -> Any:
    model = load_forgather(directory)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))
    return model


@pytest.fixture(scope="module", params=[_TIED, _BIASES], ids=lambda each: each.id)
def models(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(tmp_path_factory.mktemp("models"), request.param)


def _run(
    count: int, action: Callable[[int], object], tmp_path: Path, expected: list[int] | None = None
) -> list[str]:
    """Runs an action in processes of one group; gives what each printed."""

    def connected(rank: int) -> None:
        dist.init_process_group("gloo")
        try:
            action(rank)
        finally:
            dist.destroy_process_group()

    outputs = tmp_path / "outputs"
    outputs.mkdir()
    codes = run_together(count, connected, outputs)
    texts = [path.read_text() for path in sorted(outputs.iterdir())]
    assert codes == (expected or [0] * count), "\n".join(texts)
    return texts


@every_division
def test_a_sharded_model_is_saved_as_the_whole_one(
    models: Models, tmp_path: Path, division: str
) -> None:
    count, divide = _DIVISIONS[division]

    def save(rank: int) -> None:
        model = trained(models.fg)
        divide(model)
        result = save_as_hf(model, tmp_path / "saved")
        assert (result is None) == (rank > 0)

    _run(count, save, tmp_path)
    assert differences(tmp_path / "saved", models.trained) == []
    assert remains(tmp_path / "saved") == []


@every_division
def test_the_weights_of_a_sharded_model_are_streamed(
    models: Models, tmp_path: Path, division: str
) -> None:
    count, divide = _DIVISIONS[division]
    expected = load_file(models.trained / "model.safetensors")

    def stream(rank: int) -> None:
        model = trained(models.fg)
        divide(model)
        for chosen in (None, count - 1):
            streamed = dict(hf_weights(model, rank=chosen))
            names = expected if chosen in (None, rank) else {}
            assert streamed.keys() == {*names}
            assert all(torch.equal(streamed[name], expected[name]) for name in names)
        with pytest.raises(OptionError, match=f"There is no process {count}"):
            hf_weights(model, rank=count)

    _run(count, stream, tmp_path)


@every_division
def test_a_sharded_model_is_filled(models: Models, tmp_path: Path, division: str) -> None:
    count, divide = _DIVISIONS[division]

    def fill(_: int) -> None:
        model = trained(models.fg)
        divide(model)
        load_hf_weights(model, models.hf)
        expected = load_forgather(models.fg).state_dict()
        for name, tensor in model.state_dict().items():
            whole = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
            assert torch.equal(whole, expected[name]), name

    _run(count, fill, tmp_path)


def test_a_trained_model_is_saved_between_steps(models: Models, tmp_path: Path) -> None:
    """A forward pass leaves the root's parameters whole; saving and training go on."""

    def train(rank: int) -> None:
        model = load_forgather(models.fg).train()
        _fsdp(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in range(2):
            ids = torch.arange(10 + rank, 26 + rank).unsqueeze(0)
            model(input_ids=ids, labels=ids).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            save_as_hf(model, tmp_path / f"saved-{step}")
        whole = {
            name: tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
            for name, tensor in model.state_dict().items()
        }
        if rank == 0:
            one = load_forgather(models.fg)
            one.load_state_dict(whole)
            save_as_hf(one, tmp_path / "whole")

    _run(2, train, tmp_path)
    assert differences(tmp_path / "saved-1", tmp_path / "whole") == []
    assert "model.safetensors" in differences(tmp_path / "saved-0", tmp_path / "whole")[0]


def _with_adapters(directory: Path) -> Any:
    """A model with an adapter on projections, and with a trained copy of its head."""
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(
        target_modules=["query_linear", "down_proj"],
        modules_to_save=["lm_head"],
        task_type="CAUSAL_LM",
    )
    model = peft.get_peft_model(load_forgather(directory), config)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model


def _shard_with_adapters(model: Any) -> None:
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for layer in model.get_base_model().causal_lm.layer_stack.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)


@pytest.mark.parametrize("models", [_BIASES], indirect=True, ids=lambda each: each.id)
@pytest.mark.parametrize("count", [2, 4])
def test_adapters_of_a_sharded_model_are_saved_as_those_of_the_whole_one(
    models: Models, tmp_path: Path, count: int
) -> None:
    save_as_hf(_with_adapters(models.fg), tmp_path / "whole")

    def save(rank: int) -> None:
        model = _with_adapters(models.fg)
        _shard_with_adapters(model)
        result = save_as_hf(model, tmp_path / "saved")
        assert (result is None) == (rank > 0)
        HFCheckpointCallback().write(model, tmp_path / "trained", 5, is_first=rank == 0)

    _run(count, save, tmp_path)
    assert differences(tmp_path / "saved", tmp_path / "whole") == []
    assert differences(tmp_path / "trained" / "hf-5", tmp_path / "whole") == []
    assert (tmp_path / "saved" / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize("models", [_BIASES], indirect=True, ids=lambda each: each.id)
def test_an_adapter_that_cannot_be_saved_ends_all(models: Models, tmp_path: Path) -> None:
    """Only the first process finds that the destination exists."""
    (tmp_path / "saved").mkdir()

    def save(_: int) -> None:
        model = _with_adapters(models.fg)
        _shard_with_adapters(model)
        try:
            save_as_hf(model, tmp_path / "saved")
        except ForgatherConvertError as error:
            print(type(error).__name__, error)  # noqa: T201

    first, second = _run(2, save, tmp_path)
    assert "Error" in first
    assert "ProcessError" in second


@pytest.mark.parametrize("models", [_BIASES], indirect=True, ids=lambda each: each.id)
def test_a_sharded_adapter_that_peft_computes_is_refused(models: Models, tmp_path: Path) -> None:
    """Trained prompts are no parameters of the model, but embedded when they are saved."""
    peft = pytest.importorskip("peft")
    config = peft.PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM")

    def save(_: int) -> None:
        model = peft.get_peft_model(load_forgather(models.fg), config)
        _shard_with_adapters(model)
        with pytest.raises(UnsupportedModelError, match="PEFT computes tensors"):
            save_as_hf(model, tmp_path / "saved")

    _run(2, save, tmp_path)


def test_a_process_gathers_only_what_it_writes(
    models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[torch.Size] = []
    original = gathering.Gathering._sent

    def sent(self: Any, tensor: Any, *arguments: Any) -> Any:
        value = original(self, tensor, *arguments)
        if value is not None:
            made.append(value.shape)
        return value

    monkeypatch.setattr(gathering.Gathering, "_sent", sent)

    def save(_: int) -> None:
        model = trained(models.fg)
        _fsdp(model)
        save_as_hf(model, tmp_path / "saved")
        counts: list[Any] = [None, None]
        dist.all_gather_object(counts, len(made))
        own = len([*load_file(models.trained / "model.safetensors")])
        assert sum(counts) == own
        assert min(counts) > 0

    _run(2, save, tmp_path)


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_of_one_process_ends_all(
    models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    def save(rank: int) -> None:
        model = trained(models.fg)
        _fsdp(model)

        def full(file: Any, data: Any, position: int) -> None:
            if rank == failing and position > 20_000:
                raise OSError(28, "No space left on device")
            write_at(file, data, position)

        monkeypatch.setattr(_WRITE_AT, full)
        try:
            save_as_hf(model, tmp_path / "saved")
        except (ForgatherConvertError, OSError) as error:
            print(type(error).__name__, error)  # noqa: T201

    outputs = _run(2, save, tmp_path)
    assert all("No space left on device" in text for text in outputs)
    assert f"Process {failing} failed" in outputs[1 - failing]
    assert not (tmp_path / "saved").exists()
    assert remains(tmp_path / "saved") == []


@pytest.mark.parametrize("action", ["save", "stream", "fill"])
def test_a_refusal_ends_all(models: Models, tmp_path: Path, action: str) -> None:
    """Only the first process plans, and finds what is wrong."""
    actions: dict[str, Callable[[Any], object]] = {
        "save": lambda model: save_as_hf(model, models.hf),
        "stream": lambda model: hf_weights(model, options=ConvertOptions(model_type="gpt2")),
        "fill": lambda model: load_hf_weights(model, tmp_path / "nowhere"),
    }

    def run(_: int) -> None:
        model = trained(models.fg)
        _fsdp(model)
        try:
            actions[action](model)
        except ForgatherConvertError as error:
            print(type(error).__name__, error)  # noqa: T201

    first, second = _run(2, run, tmp_path)
    assert "Error" in first
    assert "ProcessError" in second


def test_the_death_of_one_process_ends_all(
    models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(rank: int) -> None:
        model = trained(models.fg)
        _fsdp(model)

        def dying(file: Any, data: Any, position: int) -> None:
            if rank == 1 and position > 20_000:
                os.kill(os.getpid(), signal.SIGKILL)
            write_at(file, data, position)

        monkeypatch.setattr(_WRITE_AT, dying)
        try:
            save_as_hf(model, tmp_path / "saved")
        except ForgatherConvertError as error:
            print(type(error).__name__, error, flush=True)  # noqa: T201
            os._exit(3)

    outputs = _run(2, save, tmp_path, [3, -9])
    assert "was lost" in outputs[0]
    assert not (tmp_path / "saved").exists()
    assert remains(tmp_path / "saved") == []


def test_a_process_holds_one_tensor_at_a_time(tmp_path: Path) -> None:
    """Its share of the model, one whole tensor, and the part of it that it receives."""
    # Half of it is the embedding, the largest tensor.
    sizes = {"hidden_size": 256, "intermediate_size": 512, "vocab_size": 64_000}
    hf = write_hf_model(tmp_path / "hf", Variant("llama", "large", {**_TIED.fields, **sizes}))
    fg = tmp_path / "fg"
    convert(hf, fg, ConvertOptions(logit_check=False))
    largest = 64_000 * 256 * 4

    def save(_: int) -> None:
        model = load_forgather(fg)
        _fsdp(model)
        save_as_hf(model, tmp_path / "first")
        before = anonymous_memory()
        actions = {
            "save": lambda: save_as_hf(model, tmp_path / "second"),
            "fill": lambda: load_hf_weights(model, hf),
            "stream": lambda: sum(1 for _ in hf_weights(model, rank=0)),
        }
        for name, action in actions.items():
            growth = peak_memory(action) - before
            print(name, growth / largest)  # noqa: T201
            assert growth < 1.8 * largest, name

    _run(2, save, tmp_path)
    assert differences(tmp_path / "second", hf) == []
