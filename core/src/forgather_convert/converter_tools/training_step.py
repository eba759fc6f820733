"""Checks that a tiny model and its conversion compute and train equally, as users run them."""

import copy
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgather_convert.converter_tools.tiny_models import project_of, write_tiny_model
from forgather_convert.dynamic_model.code_generator import generate_code
from forgather_convert.dynamic_model.loading import load_generated_code
from forgather_convert.errors import ConverterError
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.logit_check.logits import trains_with_cache
from forgather_convert.models.loading import quiet_transformers
from forgather_convert.models.reference import ReferenceClasses, config_object
from forgather_convert.options import ConvertOptions
from forgather_convert.source.config_file import read_config
from forgather_convert.tensors.names import enumerate_names

if TYPE_CHECKING:
    import torch

_DTYPES = ("float32", "bfloat16")
#: The lengths of inputs, and how many of the first row's tokens are padding.
_INPUTS = ((1, 0), (2, 0), (11, 0), (11, 4))
_LEARNING_RATE = 0.5


def check_use(hooks: FamilyHooks, hf_config: Any) -> str:
    """Compares the logits of both models as users load them, and a training step.

    In both dtypes, and with every attention implementation that is always available.

    Raises:
        ConverterError: Something differs.
    """
    from forgather_convert import api

    with tempfile.TemporaryDirectory(prefix="forgather-check-") as directory:
        source, there = Path(directory) / "hf", Path(directory) / "fg"
        write_tiny_model(source, hooks, copy.deepcopy(hf_config))
        unchecked = ConvertOptions(logit_check=False)
        api.convert(source, there, unchecked, converter=hooks.converter)
        _, project = project_of(hooks, copy.deepcopy(hf_config))
        ours, theirs = load_generated_code(generate_code(project)), ReferenceClasses.of(hooks)
        fields = read_config(there)
        count = 0
        for dtype, attention in _ways(theirs.model_class):
            # Not every version of transformers can read what another one writes.
            theirs_config = copy.deepcopy(hf_config)
            hf = _load(theirs.model_class, theirs_config, source, dtype, attention)
            own = config_object(ours.config_class, fields, fields.origin)
            fg = _load(ours.model_class, own, there, dtype, attention)
            problem = logits_problem(hf, fg)
            if problem is not None:
                raise ConverterError(f"{problem} with {attention} attention in {dtype}.")
            count += 1
            if dtype == _DTYPES[0]:
                _compare_step(hooks, hf, fg, Path(directory) / attention, attention)
    return f"identical logits in {count} ways of running it, identical weights after a step"


def _ways(model_class: Any) -> Iterator[tuple[str, str]]:
    for dtype in _DTYPES:
        yield dtype, "eager"
        if model_class._supports_sdpa:
            yield dtype, "sdpa"


def _load(model_class: Any, config: Any, directory: Path, dtype: str, attention: str) -> Any:
    import torch

    with quiet_transformers():
        model = model_class.from_pretrained(
            directory,
            config=config,
            dtype=getattr(torch, dtype),
            attn_implementation=attention,
            local_files_only=True,
        )
    # The last bits of a product with one row depend on the alignment of the matrix.
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()
    return model.eval()


def inputs_of(model: Any, length: int, padding: int) -> dict[str, "torch.Tensor"]:
    """The ids and the mask of an input, a batch of two."""
    import torch

    size = model.config.get_text_config().vocab_size
    generator = torch.Generator().manual_seed(length)
    ids = torch.randint(min(5, size // 2), size, (2, length), generator=generator)
    mask = torch.ones_like(ids)
    mask[0, :padding] = 0
    return {"input_ids": ids, "attention_mask": mask}


def logits_problem(hf: Any, fg: Any) -> str | None:
    """The first of several inputs with which two models compute different logits."""
    unequal = unequal_input(hf, fg)
    if unequal is None:
        return None
    length, padding = unequal
    padded = f", {padding} of them padding," if padding else ""
    return f"The logits of a batch of {length} tokens{padded} differ"


def unequal_input(hf: Any, fg: Any) -> tuple[int, int] | None:
    """The same input: its length, and how many of the first row's tokens are padding."""
    import torch

    for length, padding in _INPUTS:
        inputs = inputs_of(hf, length, padding)
        with torch.no_grad():
            one, other = (model(**inputs).logits for model in (hf, fg))
        if not torch.equal(one[:, padding:], other[:, padding:]):
            return length, padding
    return None


def _compare_step(hooks: FamilyHooks, hf: Any, fg: Any, directory: Path, attention: str) -> None:
    """Trains both for one step; the trained original is converted and compared."""
    import torch
    from safetensors.torch import load_file

    from forgather_convert import api

    inputs = inputs_of(hf, *_INPUTS[-1])
    use_cache = None if trains_with_cache(fg, inputs["input_ids"]) else False
    for model in (hf, fg):
        torch.manual_seed(5)
        model.train()
        model(**inputs, labels=inputs["input_ids"], use_cache=use_cache).loss.backward()
        torch.optim.SGD(model.parameters(), _LEARNING_RATE).step()
    trained, converted = directory / "hf", directory / "fg"
    with quiet_transformers():
        hf.config.model_type = hooks.model_type
        hf.save_pretrained(trained)
    options = ConvertOptions(logit_check=False, dtype=_DTYPES[0])
    api.convert(trained, converted, options, converter=hooks.converter)
    expected = load_file(converted / "model.safetensors")
    actual = fg.state_dict()
    differing = [name for name, value in expected.items() if not torch.equal(actual[name], value)]
    if differing:
        raise ConverterError(
            f"After a step of training with {attention} attention, weights differ: "
            f"{enumerate_names(differing)}."
        )
