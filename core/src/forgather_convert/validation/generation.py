"""The generation test: what the converted model says."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgather_convert.errors import ValidationError
from forgather_convert.planning.request import PlannedConversion
from forgather_convert.tensors.dtypes import to_torch
from forgather_convert.validation.prompts import fixed_ids, try_load_tokenizer

_NEW_TOKENS = 40


@dataclass(frozen=True)
class Generation:
    """A prompt and the model's greedy continuation.

    Attributes:
        prompt: The text that was given; empty if the model has no tokenizer.
        text: The text that was generated; empty likewise.
        token_ids: The generated tokens.
    """

    prompt: str
    text: str
    token_ids: tuple[int, ...]


def generate(planned: PlannedConversion, directory: Path, prompt: str, device: str) -> Generation:
    """Continues a prompt greedily with the converted model.

    Raises:
        ValidationError: The model does not generate.
    """
    import torch

    model = _load(planned, directory, device)
    tokenizer = try_load_tokenizer(directory, planned.destination.config_object)
    if tokenizer is None:
        ids = fixed_ids(range(model.config.vocab_size))
    else:
        ids = [int(token) for token in tokenizer(prompt)["input_ids"]]
        if not ids:
            raise ValidationError(
                f"The generation test cannot begin: the prompt {prompt!r} has no tokens. Give "
                "another one with --prompt, or leave out --generation-test."
            )
    inputs = torch.tensor([ids], device=model.device)
    try:
        with torch.no_grad():
            output = model.generate(
                inputs,
                attention_mask=torch.ones_like(inputs),
                max_new_tokens=_NEW_TOKENS,
                do_sample=False,
                pad_token_id=_padding(model),
            )
    except Exception as error:
        raise ValidationError(
            f"The converted model does not generate: {type(error).__name__}: {error}. Nothing was "
            "written. Leave out --generation-test to convert all the same."
        ) from error
    new = tuple(output[0, len(ids) :].tolist())
    if tokenizer is None:
        return Generation("", "", new)
    return Generation(prompt, str(tokenizer.decode(new, skip_special_tokens=True)), new)


def _load(planned: PlannedConversion, directory: Path, device: str) -> Any:
    """Loads the result; buffers, such as those of RoPE, keep the dtype that they have."""
    model = planned.destination.load(directory)
    for parameter in model.parameters():
        parameter.data = parameter.data.to(to_torch(planned.plan.dtype))
    return model.to(device)


def _padding(model: object) -> int | None:
    """A padding token for ``generate``, which is unused with a single prompt."""
    config = getattr(model, "generation_config", None)
    for name in ("pad_token_id", "eos_token_id"):
        value = getattr(config, name, None)
        if isinstance(value, list):
            value = value[0] if value else None
        if isinstance(value, int) and value >= 0:
            return value
    return None
