"""Writes a Hugging Face directory beside every checkpoint of transformers' Trainer."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from forgather_convert.api import run
from forgather_convert.conversion.conversion import ConversionRequest
from forgather_convert.families.converter import HFConverter
from forgather_convert.in_memory.live_model import is_peft, live_model, unwrapped
from forgather_convert.in_memory.processes import Processes
from forgather_convert.in_memory.saving import (
    LiveCheckpoint,
    options_of_adapter,
    save_adapter,
    save_live,
)
from forgather_convert.options import ConvertOptions
from forgather_convert.source.config_file import CONFIG_FILE
from forgather_convert.source.model_directory import find_model_directory
from forgather_convert.source.readable_weights import ADAPTER_CONFIG_FILE

_NAME = re.compile(r"hf-(\d+)", re.ASCII)


class HFCheckpointCallback(TrainerCallback):  # type: ignore[misc]
    """Writes ``hf-N`` beside every ``checkpoint-N``: the same model for Hugging Face's classes.

    It is what ``forgather convert`` makes of the checkpoint, byte for byte, and is written from the
    model in memory, also if that is sharded. It appears when it is complete, replaces one that was
    written before the training was resumed, and is removed when the trainer has removed its
    checkpoint (``save_total_limit``).

    Args:
        options: Options of ``convert`` that differ from the defaults, such as ``dtype``. The logit
            check is not run.
        converter: The converter to use; by default, it is found by the model's type.
    """

    def __init__(
        self, options: ConvertOptions | None = None, *, converter: HFConverter | None = None
    ) -> None:
        self._options = replace(options or ConvertOptions(), logit_check=False, overwrite=True)
        self._converter = converter

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Called by the trainer after it has written a checkpoint."""
        directory = Path(args.output_dir)
        self.write(
            kwargs["model"],
            directory,
            state.global_step,
            kwargs.get("processing_class") or _tokenizer_of(kwargs.get("train_dataloader")),
            is_first=state.is_world_process_zero,
        )
        if state.is_world_process_zero:
            self.prune(directory)

    def write(
        self, model: Any, directory: Path, step: int, tokenizer: Any = None, is_first: bool = True
    ) -> None:
        """Writes the directory of one checkpoint; for trainers other than transformers'.

        Args:
            model: The model that is trained.
            directory: The directory of the checkpoints.
            step: The number of the checkpoint.
            tokenizer: The tokenizer that the trainer saves in it.
            is_first: Whether this is the process that writes a model that is not sharded.
        """
        module = unwrapped(model)
        destination, checkpoint = directory / f"hf-{step}", directory / f"checkpoint-{step}"
        if is_peft(module):
            processes = Processes.of(module.parameters())
            if processes.count > 1 or is_first:
                self._write_adapter(module, processes, destination, checkpoint)
            return
        live = live_model(module)
        if live.processes.count > 1 or is_first:
            model_directory = find_model_directory(checkpoint, any_config=False)
            live_checkpoint = LiveCheckpoint(live, model_directory, trainer_tokenizer=tokenizer)
            save_live(live_checkpoint, destination, self._options, converter=self._converter)

    def _write_adapter(
        self, module: Any, processes: Processes, destination: Path, checkpoint: Path
    ) -> None:
        # The trainer may have saved it already.
        if processes.from_first(lambda: (checkpoint / ADAPTER_CONFIG_FILE).is_file()):
            processes.in_first(lambda: self._convert_adapter(module, destination, checkpoint))
        else:
            save_adapter(module, destination, self._options, converter=self._converter)

    def _convert_adapter(self, module: Any, destination: Path, checkpoint: Path) -> None:
        options = options_of_adapter(module, self._options)
        run(ConversionRequest.of(checkpoint, destination, options, self._converter))

    def prune(self, directory: Path) -> None:
        """Removes the directories whose checkpoints are gone."""
        for path in directory.iterdir():
            match = _NAME.fullmatch(path.name)
            if match is None or (directory / f"checkpoint-{match[1]}").exists():
                continue
            if any((path / name).is_file() for name in (CONFIG_FILE, ADAPTER_CONFIG_FILE)):
                shutil.rmtree(path)


def _tokenizer_of(dataloader: Any) -> Any:
    """The tokenizer of a data collator, which the trainer saves if it has none itself."""
    return getattr(getattr(dataloader, "collate_fn", None), "tokenizer", None)
