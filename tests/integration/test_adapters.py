"""An adapter of PEFT does to the converted model what it does to the original, bit for bit."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from forgather_convert import (
    ConvertOptions,
    OptionError,
    UnsupportedModelError,
    ValidationError,
    api,
    convert,
    hf_weights,
    plan,
    save_as_hf,
)
from forgather_convert.adapters.provenance import ADAPTER_PROVENANCE_FILE
from forgather_convert.execution.executor import execute
from forgather_convert.reporting.certificate import describe_certificate
from support.adapters import with_adapter, write_adapter
from support.command import forgather, run_convert
from support.converting import convert_unchecked, logits_of
from support.directories import differences, snapshot
from support.models import load_forgather, load_hf
from support.pairs import Pair
from support.variants import variant

LAST_LAYER = "causal_lm.layer_stack.layers.2"
#: What LoraConfig is given for the original, and what the converted config says.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "names, and rows of the embedding": (
        {
            "target_modules": ["q_proj", "v_proj"],
            "trainable_token_indices": {"embed_tokens": [7, 9]},
            "use_rslora": True,
        },
        {
            "target_modules": {"query_linear", "value_linear"},
            "trainable_token_indices": {"word_embedding": [7, 9]},
        },
    ),
    "all linear modules": (
        {"target_modules": "all-linear"},
        {
            "target_modules": {
                *(f"{name}_linear" for name in ("query", "key", "value", "output")),
                *(f"{name}_proj" for name in ("gate", "up", "down")),
            }
        },
    ),
    "a pattern, and biases": (
        {"target_modules": r".*layers\.2\..*(q|up)_proj", "bias": "all"},
        {
            "target_modules": {
                "layers.2.attention.query_linear",
                "layers.2.feedforward.up_proj",
            }
        },
    ),
    "layers, ranks and factors": (
        {
            "target_modules": ["q_proj", "k_proj", "down_proj"],
            "exclude_modules": ["layers.1.self_attn.k_proj"],
            "layers_to_transform": [1, 2],
            "layers_pattern": "layers",
            "rank_pattern": {"layers.1.self_attn.q_proj": 4, "q_proj": 1},
            "alpha_pattern": {"^model.layers.*down_proj": 32},
        },
        {
            "target_modules": {
                *(f"layers.{layer}.attention.query_linear" for layer in (1, 2)),
                "layers.2.attention.key_linear",
                *(f"layers.{layer}.feedforward.down_proj" for layer in (1, 2)),
            },
            "exclude_modules": None,
            "layers_to_transform": None,
            "layers_pattern": None,
            "rank_pattern": {
                "layers.1.attention.query_linear": 4,
                "layers.2.attention.query_linear": 1,
            },
            "alpha_pattern": {"down_proj": 32},
        },
    ),
    "saved modules": (
        {"target_modules": ["q_proj"], "modules_to_save": ["norm", "lm_head", "mlp"]},
        {"modules_to_save": ["layer_norm", "norm1", "norm2", "lm_head", "feedforward"]},
    ),
    "embedding and head, with magnitudes": (
        {"target_modules": ["q_proj", "embed_tokens", "lm_head"], "use_dora": True},
        {"target_modules": {"query_linear", "word_embedding", "lm_head"}},
    ),
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair.create(tmp_path_factory.mktemp("pair"), variant("llama-biases"), "float32")


@pytest.fixture(scope="module")
def adapter(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of the Hugging Face model."""
    directory = tmp_path_factory.mktemp("adapters") / "hf"
    return write_adapter(directory, load_hf(pair.hf, "llama"), target_modules=["q_proj", "v_proj"])


def to_base(source: Path, destination: Path, base: Path, **options: Any) -> Path:
    convert(source, destination, ConvertOptions(base=base, **options))
    return destination


def adapter_config(directory: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((directory / "adapter_config.json").read_text())
    return content


@pytest.mark.parametrize("case", CASES)
def test_there_and_back(pair: Pair, case: str, tmp_path: Path) -> None:
    """The converted adapter gives the same logits, loaded and merged; the reverse, every byte."""
    config, expected = CASES[case]
    hf = write_adapter(tmp_path / "hf", load_hf(pair.hf, "llama"), **config)
    fg = to_base(hf, tmp_path / "fg", pair.hf)

    converted = adapter_config(fg)
    for field, value in expected.items():
        found = converted[field]
        assert (set(found) if isinstance(value, set) else found) == value
    one, other = (
        with_adapter(load_hf(pair.hf, "llama"), hf),
        with_adapter(load_forgather(pair.fg), fg),
    )
    assert not torch.equal(logits_of(one), logits_of(load_hf(pair.hf, "llama")))
    assert torch.equal(logits_of(one), logits_of(other))
    one, other = one.merge_and_unload(), other.merge_and_unload()
    names = dict(zip(one.state_dict(), pair.forgather_names(one.state_dict()), strict=True))
    merged = other.state_dict()
    assert [n for n, t in one.state_dict().items() if not torch.equal(t, merged[names[n]])] == []

    assert differences(hf, to_base(fg, tmp_path / "back", pair.fg)) == []


def test_report_of_an_adapter(pair: Pair, adapter: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    run_convert("--report", report, "--base", pair.hf, adapter, tmp_path / "fg")
    content = json.loads(report.read_text())
    assert content["hashes"].keys() == {path.name for path in (tmp_path / "fg").iterdir()}
    assert content["config"] == []
    assert content["components"].keys() == {"attention"}
    run_convert(
        "--report", tmp_path / "report.html", "--base", pair.fg, tmp_path / "fg", tmp_path / "hf"
    )


def test_merged_and_then_converted(pair: Pair, adapter: Path, tmp_path: Path) -> None:
    merged = with_adapter(load_hf(pair.hf, "llama"), adapter).merge_and_unload()
    merged.save_pretrained(tmp_path / "hf")
    one = load_forgather(convert_unchecked(tmp_path / "hf", tmp_path / "fg"))
    other = with_adapter(load_forgather(pair.fg), to_base(adapter, tmp_path / "adapter", pair.hf))
    merged_there = other.merge_and_unload()
    state = merged_there.state_dict()
    assert [n for n, t in one.state_dict().items() if not torch.equal(t, state[n])] == []

    merged_there.save_pretrained(tmp_path / "merged")
    back = load_hf(convert_unchecked(tmp_path / "merged", tmp_path / "back"), "llama").state_dict()
    assert [n for n, t in merged.state_dict().items() if not torch.equal(t, back[n])] == []


def test_an_adapter_that_was_trained_on_the_forgather_model(pair: Pair, tmp_path: Path) -> None:
    """Without an original, the conversion to Forgather gives the same tensors and names."""
    targets = ["query_linear", "up_proj", f"{LAST_LAYER}.attention.value_linear"]
    fg = write_adapter(tmp_path / "fg", load_forgather(pair.fg), target_modules=targets)
    hf = to_base(fg, tmp_path / "hf", pair.fg)
    assert torch.equal(
        logits_of(with_adapter(load_forgather(pair.fg), fg)),
        logits_of(with_adapter(load_hf(pair.hf, "llama"), hf)),
    )
    assert not (hf / ADAPTER_PROVENANCE_FILE).exists()
    config = adapter_config(hf)
    assert set(config["target_modules"]) == {"q_proj", "up_proj", "layers.2.self_attn.v_proj"}
    # A path to the other model would load the adapter into what it does not belong to.
    assert config["base_model_name_or_path"] is None

    again = to_base(hf, tmp_path / "again", pair.hf)
    tensors, expected = (load_file(path / "adapter_model.safetensors") for path in (again, fg))
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], expected[name]) for name in expected)


def test_trained_on_after_the_conversion(pair: Pair, adapter: Path, tmp_path: Path) -> None:
    """The reverse gives what the adapter is now, in the files that the original had."""
    fg = to_base(adapter, tmp_path / "fg", pair.hf)
    model = with_adapter(load_forgather(pair.fg), fg)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data *= 3
    expected = logits_of(model)
    model.save_pretrained(fg)
    back = to_base(fg, tmp_path / "back", pair.fg)
    assert torch.equal(logits_of(with_adapter(load_hf(pair.hf, "llama"), back)), expected)
    assert set(snapshot(back)) == set(snapshot(adapter))


def test_an_original_that_is_another_adapters_is_not_believed(
    pair: Pair, adapter: Path, tmp_path: Path
) -> None:
    """The file beside an adapter may say anything; the adapter tells what it is."""
    fg = to_base(adapter, tmp_path / "fg", pair.hf)
    path = fg / ADAPTER_PROVENANCE_FILE
    provenance = json.loads(path.read_text())
    provenance["config"] = provenance["config"].replace('"lora_alpha": 8', '"lora_alpha": 9')
    path.write_text(json.dumps(provenance))
    back = to_base(fg, tmp_path / "back", pair.fg)
    assert adapter_config(back)["lora_alpha"] == 8
    assert adapter_config(back)["target_modules"] == adapter_config(adapter)["target_modules"]


def test_pytorch_files_become_safetensors(pair: Pair, adapter: Path, tmp_path: Path) -> None:
    source = tmp_path / "bin"
    source.mkdir()
    for name in ("adapter_config.json", "README.md"):
        (source / name).write_bytes((adapter / name).read_bytes())
    torch.save(load_file(adapter / "adapter_model.safetensors"), source / "adapter_model.bin")
    fg = to_base(source, tmp_path / "fg", pair.hf)
    back = to_base(fg, tmp_path / "back", pair.fg)
    assert differences(back, adapter) == []


def test_a_base_with_the_checkpoints_of_the_adapters_training(
    pair: Pair, adapter: Path, tmp_path: Path
) -> None:
    """They hold nothing but the adapter; the source may be one of them."""
    base = tmp_path / "base"
    base.mkdir()
    for path in pair.fg.iterdir():
        (base / path.name).symlink_to(path)
    fg = to_base(adapter, tmp_path / "fg", pair.hf)
    checkpoint = base / "checkpoints" / "checkpoint-7"
    checkpoint.parent.mkdir()
    fg.rename(checkpoint)
    (checkpoint / "optimizer.pt").write_bytes(b"steps")
    planned = plan(checkpoint, tmp_path / "back", ConvertOptions(base=base))
    assert planned.left_out == ("optimizer.pt",)
    assert differences(adapter, to_base(checkpoint, tmp_path / "back", base)) == []


def test_in_memory(pair: Pair, tmp_path: Path) -> None:
    """A model with an adapter is saved as an adapter of the Hugging Face model."""
    fg_adapter = tmp_path / "fg"
    model = load_forgather(pair.fg)
    write_adapter(fg_adapter, model, target_modules=["query_linear", "down_proj"])
    adapted = with_adapter(load_forgather(pair.fg), fg_adapter)
    save_as_hf(adapted, tmp_path / "saved")
    again = tmp_path / "again"
    adapted.save_pretrained(again)
    assert differences(tmp_path / "saved", to_base(again, tmp_path / "converted", pair.fg)) == []
    hf = with_adapter(load_hf(pair.hf, "llama"), tmp_path / "saved")
    assert torch.equal(logits_of(hf), logits_of(adapted))
    with pytest.raises(UnsupportedModelError, match="has adapters of PEFT"):
        hf_weights(adapted)


def test_in_memory_the_base_must_be_known(pair: Pair, tmp_path: Path) -> None:
    model = load_forgather(pair.fg)
    write_adapter(tmp_path / "fg", model, target_modules=["query_linear"])
    adapted = with_adapter(load_forgather(pair.fg), tmp_path / "fg")
    adapted.get_base_model().name_or_path = str(tmp_path / "gone")
    with pytest.raises(OptionError, match=r"Name the directory as ConvertOptions\.base"):
        save_as_hf(adapted, tmp_path / "saved")
    save_as_hf(adapted, tmp_path / "saved", options=ConvertOptions(base=pair.fg))
    assert (tmp_path / "saved" / "adapter_config.json").is_file()


def test_on_the_command_line(pair: Pair, adapter: Path, tmp_path: Path) -> None:
    fg = tmp_path / "fg"
    planned = run_convert(adapter, fg, "--base", pair.hf, "--dry-run")
    assert "write adapter_model.safetensors" in planned.stdout
    assert not fg.exists()
    result = run_convert(adapter, fg, "--base", pair.hf, "--json")
    content = json.loads(result.stdout)
    assert content["direction"] == "to_forgather"
    assert content["files"] == sorted(snapshot(fg))
    assert content["logits"]["equal"] is True
    # Eleven tokens alone, and two rows of them of which three are padding.
    assert content["certificate"] == (
        "Verified on 2 runs over 30 positions: logits bit-identical to the source's."
    )
    assert forgather("convert", adapter, fg, "--base", pair.hf).returncode == 1
    run_convert(adapter, fg, "--base", pair.hf, "--overwrite")


def test_an_adapter_that_computes_something_else_is_refused(
    pair: Pair, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def execute_badly(plan: Any, staged: Path, *arguments: Any) -> None:
        execute(plan, staged, *arguments)
        weights = staged / "adapter_model.safetensors"
        data = bytearray(weights.read_bytes())
        data[-1] ^= 0x40
        weights.write_bytes(data)

    monkeypatch.setattr(api, "execute", execute_badly)
    with pytest.raises(ValidationError, match="with the converted adapter, the model does not"):
        to_base(adapter, tmp_path / "fg", pair.hf)
    assert not (tmp_path / "fg").exists()


def test_without_peft_nothing_is_said_to_be_verified(
    pair: Pair, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec

    def find_other(name: str, *arguments: Any) -> Any:
        return None if name == "peft" else find_spec(name, *arguments)

    monkeypatch.setattr(importlib.util, "find_spec", find_other)
    options = ConvertOptions(base=pair.hf)
    result = convert(adapter, tmp_path / "fg", options)
    assert result.logits is None
    assert describe_certificate(result).startswith("Not verified: the logits were not compared")
