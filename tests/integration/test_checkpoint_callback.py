"""transformers' Trainer writes a Hugging Face directory beside each of its checkpoints."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import transformers

from forgather_convert import ConvertOptions, HFCheckpointCallback
from support.converting import convert_unchecked
from support.directories import differences
from support.models import load_forgather, prompt, write_hf_model
from support.running_conversion import remains
from support.tokenizer_files import write_tokenizer
from support.variants import variant


class _Interrupted(Exception):
    pass


class _Interruption(transformers.TrainerCallback):  # type: ignore[misc]
    """Ends a training after a step."""

    def __init__(self, step: int) -> None:
        self._step = step

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self._step:
            raise _Interrupted


@pytest.fixture(scope="module")
def fg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("callback")
    hf = write_hf_model(directory / "hf", variant("llama-tied"))
    write_tokenizer(hf)
    return convert_unchecked(hf, directory / "fg")


def _trainer(model: Any, output: Path, *callbacks: Any, **arguments: Any) -> transformers.Trainer:
    settings = transformers.TrainingArguments(
        output_dir=str(output),
        **{"max_steps": 3, "save_steps": 1, **arguments},
        learning_rate=0.01,
        per_device_train_batch_size=2,
        dataloader_pin_memory=False,
        use_cpu=True,
        disable_tqdm=True,
        report_to=[],
    )
    rows = [{"input_ids": row, "labels": row} for row in prompt(batch=4)]
    return transformers.Trainer(model, settings, train_dataset=rows, callbacks=[*callbacks])


def _names(output: Path, prefix: str) -> list[str]:
    return sorted(path.name for path in output.glob(f"{prefix}-*"))


# transformers 4 warns of file systems whose times it does not trust.
@pytest.mark.filterwarnings("ignore:mtime may not be reliable")
@pytest.mark.parametrize("where", ["beside", "inside"])
@pytest.mark.parametrize("has_tokenizer", [False, True])
def test_it_equals_the_converted_checkpoint(
    fg: Path, tmp_path: Path, where: str, has_tokenizer: bool
) -> None:
    model_directory = Path(shutil.copytree(fg, tmp_path / "fg"))
    output = model_directory if where == "inside" else tmp_path / "output"
    trainer = _trainer(
        load_forgather(model_directory), output, HFCheckpointCallback(), save_total_limit=2
    )
    if has_tokenizer:
        trainer.processing_class = transformers.AutoTokenizer.from_pretrained(fg)
        trainer.callback_handler.processing_class = trainer.processing_class
    trainer.train()
    assert _names(output, "checkpoint") == ["checkpoint-2", "checkpoint-3"]
    assert _names(output, "hf") == ["hf-2", "hf-3"]
    for step in (2, 3):
        converted = convert_unchecked(output / f"checkpoint-{step}", tmp_path / f"converted-{step}")
        assert differences(output / f"hf-{step}", converted) == []
        assert remains(output / f"hf-{step}") == []
    assert differences(output / "hf-2", output / "hf-3") != []
    is_expected = has_tokenizer or where == "inside"
    assert (output / "hf-3" / "tokenizer.json").is_file() == is_expected


def test_a_training_is_resumed(fg: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    with pytest.raises(_Interrupted):
        _trainer(load_forgather(fg), output, HFCheckpointCallback(), _Interruption(2)).train()
    # What was left from steps after the checkpoint that the training goes on from is replaced.
    shutil.rmtree(output / "checkpoint-2")
    (output / "hf-2" / "old.txt").write_text("old")
    trainer = _trainer(load_forgather(fg), output, HFCheckpointCallback())
    trainer.train(resume_from_checkpoint=str(output / "checkpoint-1"))
    assert _names(output, "hf") == ["hf-1", "hf-2", "hf-3"]
    for step in (2, 3):
        converted = convert_unchecked(output / f"checkpoint-{step}", tmp_path / f"converted-{step}")
        assert differences(output / f"hf-{step}", converted) == []


def test_options_apply(fg: Path, tmp_path: Path) -> None:
    callback = HFCheckpointCallback(ConvertOptions(dtype="bfloat16"))
    _trainer(load_forgather(fg), tmp_path / "output", callback, max_steps=1).train()
    converted = convert_unchecked(
        tmp_path / "output" / "checkpoint-1", tmp_path / "converted", dtype="bfloat16"
    )
    assert differences(tmp_path / "output" / "hf-1", converted) == []


def test_adapters_are_written_as_adapters(fg: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(target_modules=["query_linear", "down_proj"], task_type="CAUSAL_LM")
    model = peft.get_peft_model(load_forgather(fg), config)
    _trainer(model, tmp_path / "output", HFCheckpointCallback(), max_steps=1).train()
    checkpoint = tmp_path / "output" / "checkpoint-1"
    converted = convert_unchecked(checkpoint, tmp_path / "converted", base=fg)
    assert differences(tmp_path / "output" / "hf-1", converted) == []


def test_other_directories_are_left_alone(fg: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    for name in ("hf-7", "hf-best", "hf-8x"):
        (output / name).mkdir(parents=True)
    _trainer(load_forgather(fg), output, HFCheckpointCallback(), max_steps=1).train()
    assert _names(output, "hf") == ["hf-1", "hf-7", "hf-8x", "hf-best"]
