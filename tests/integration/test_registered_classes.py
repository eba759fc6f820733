"""A config finds its model without ``trust_remote_code``, and never the model of another."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from forgather_convert import ConvertOptions, convert
from support.models import load_forgather, prompt, write_hf_model
from support.pairs import Pair, every_family
from support.variants import variant

float32 = pytest.mark.parametrize("dtype", ["float32"])


@pytest.fixture
def no_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody answers when transformers asks whether it may run a model's code."""

    def ask(*_: Any) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", ask)


def load_config(directory: Path) -> Any:
    return AutoConfig.from_pretrained(directory, trust_remote_code=True)


@every_family
@float32
@pytest.mark.usefixtures("no_questions")
def test_a_loaded_config_is_enough_to_make_the_model(pair: Pair, tmp_path: Path) -> None:
    """The Forgather framework's projects load the config first and call ``from_config``."""
    model = AutoModelForCausalLM.from_config(load_config(pair.fg))
    # What such a model saves can be loaded likewise.
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_config(load_config(tmp_path))
    assert type(again).__name__ == type(model).__name__ == "DynamicCausalLM"
    assert torch.equal(load_forgather(tmp_path)(prompt()).logits, model.eval()(prompt()).logits)


@pytest.mark.usefixtures("no_questions")
def test_models_of_one_type_keep_their_own_code(tmp_path: Path) -> None:
    """Two architectures may have the same ``model_type``, here tied and not."""
    directories = []
    for name in ("llama-default", "llama-tied"):
        hf = write_hf_model(tmp_path / f"hf-{name}", variant(name))
        directories.append(tmp_path / name)
        convert(hf, directories[-1], ConvertOptions(logit_check=False))
    types = set()
    for directory in directories:
        model = AutoModelForCausalLM.from_config(load_config(directory))
        loaded = load_forgather(directory)
        names = [path.stem for path in directory.glob("modeling_*.py")]
        for each in (model, loaded, model.config, loaded.config):
            assert type(each).__module__.rpartition(".")[2] in names
        types.add(type(loaded))
    assert len(types) == 2


@every_family
@float32
def test_new_weights_have_the_scale_of_the_hf_class(pair: Pair) -> None:
    made = []
    for config in (AutoConfig.from_pretrained(pair.hf), load_config(pair.fg)):
        model = AutoModelForCausalLM.from_config(config)
        made.append({name: p.float().std() for name, p in model.named_parameters() if p.ndim > 1})
    hf, fg = made
    for name, place in zip(hf, pair.forgather_names(hf), strict=True):
        torch.testing.assert_close(fg[place], hf[name], rtol=0.1, atol=0)


@every_family
@float32
def test_no_module_is_called_as_a_part_of_a_parameter(pair: Pair) -> None:
    """Accelerate finds a module's parameters by ``name + "."`` anywhere in their names."""
    _, model = pair.load()
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    for module, _ in model.named_modules():
        if module:
            found = [name for name in names if f"{module}." in name]
            assert found == [name for name in names if name.startswith(f"{module}.")]


@every_family
@float32
def test_two_sets_of_weights_are_not_chosen_between(pair: Pair, tmp_path: Path) -> None:
    """The framework links a checkpoint's ``.bin`` files beside the weights of a conversion."""
    for path in pair.fg.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "pytorch_model.bin.index.json").symlink_to(tmp_path / "checkpoint-12")
    with pytest.raises(OSError, match=r"model\.safetensors and in pytorch_model\.bin\.index\.json"):
        load_forgather(tmp_path)
    model = load_forgather(tmp_path, use_safetensors=True)
    assert torch.equal(model(prompt()).logits, pair.load()[1](prompt()).logits)
