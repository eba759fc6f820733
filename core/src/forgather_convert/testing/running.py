"""Loads models as their users do, and runs them on prompts longer than all their limits."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from forgather_convert.logit_check.logits import cache_argument
from forgather_convert.models.reference import ReferenceClasses
from forgather_convert.source.config_file import read_config
from forgather_convert.source.rope import parameters_by_kind
from forgather_convert.testing.models import stored_tensors

_SHORTEST = 40
_LONGEST = 512
_MARGIN = 8
#: Decoding token by token begins this many tokens before a limit, and ends as many after it.
_DECODED = 3
_NEW_TOKENS = 4


def longest_limit(fields: Mapping[str, Any]) -> int:
    """The longest window, chunk or original context length of a model; 0 if it has none.

    Raises:
        ValueError: The model is not tiny in that respect.
    """
    limits = [("sliding_window", fields), ("attention_chunk_size", fields)]
    written = [fields.get("rope_scaling") or {}, fields.get("rope_parameters") or {}]
    kinds = [entry for each in written for entry in parameters_by_kind(each).values()]
    for rope in (fields, *written, *kinds):
        limits.append(("original_max_position_embeddings", rope))
        if "dynamic" in (rope.get("rope_type"), rope.get("type")):
            limits.append(("max_position_embeddings", fields))
    longest = 0
    for name, holder in limits:
        limit = holder.get(name)
        if isinstance(limit, int):
            if limit + _MARGIN > _LONGEST:
                raise ValueError(
                    f"'{name}' is {limit}. Prompts must be longer to test it: use one below "
                    f"{_LONGEST - _MARGIN}."
                )
            longest = max(longest, limit)
    return longest


def prompt_length(fields: Mapping[str, Any]) -> int:
    """The length of a prompt that goes beyond windows and original context lengths."""
    return max(_SHORTEST, longest_limit(fields) + _MARGIN)


def prompt(fields: Mapping[str, Any], batch: int = 2) -> torch.Tensor:
    """Random token ids, ``[batch, length]``, without the first ids, which tend to be special."""
    size = fields["vocab_size"]
    generator = torch.Generator().manual_seed(1)
    shape = (batch, prompt_length(fields))
    return torch.randint(min(5, size // 2), size, shape, generator=generator)


def padding_mask(ids: torch.Tensor) -> torch.Tensor:
    """A mask that leaves out the first tokens of the first row."""
    mask = torch.ones_like(ids)
    mask[0, :5] = 0
    return mask


def load_hf(classes: ReferenceClasses, directory: Path, **options: Any) -> Any:
    """Loads a Hugging Face directory with the classes that transformers has for its family.

    Its tensors are copied, like those of :func:`load_forgather`: the last bits of a product with
    one row depend on the alignment of the matrix.
    """
    # transformers 4 does not know the RoPE schema of version 5.
    config = classes.read_whole(read_config(directory), str(directory))
    model = classes.model_class.from_pretrained(
        directory, config=config, local_files_only=True, **options
    )
    return _in_own_memory(model)


def load_forgather(directory: Path, **options: Any) -> Any:
    """Loads a Forgather directory."""
    model = AutoModelForCausalLM.from_pretrained(
        directory, trust_remote_code=True, local_files_only=True, **options
    )
    return _in_own_memory(model)


def _in_own_memory(model: Any) -> Any:
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()
    return model.eval()


def logits(model: Any, ids: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """The logits of a prompt that is processed at once."""
    with torch.no_grad():
        result: torch.Tensor = model(ids, attention_mask=mask).logits
    return result


def decoded_logits(
    model: Any, fields: Mapping[str, Any], mask: torch.Tensor | None
) -> list[torch.Tensor]:
    """The logits of a prompt whose last tokens are decoded one by one, with a cache.

    Decoding crosses the longest limit, where a window drops its first key and a rotary embedding
    may change its frequencies.
    """
    ids = prompt(fields)
    middle = longest_limit(fields) or ids.shape[1] - _DECODED
    ends = range(max(1, middle - _DECODED), middle + _DECODED + 1)
    return list(_decode(model, ids, mask, ends))


def _decode(
    model: Any, ids: torch.Tensor, mask: torch.Tensor | None, ends: Iterable[int]
) -> Iterator[torch.Tensor]:
    cache: dict[str, Any] = {}
    start = 0
    for end in ends:
        with torch.no_grad():
            output = model(
                ids[:, start:end],
                attention_mask=None if mask is None else mask[:, :end],
                use_cache=True,
                **cache,
            )
        cache, start = cache_argument(model, output), end
        yield output.logits


def greedy(model: Any, ids: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """A padded prompt's greedy continuation, and the logits that it was chosen from."""
    output = model.generate(
        ids,
        attention_mask=padding_mask(ids),
        do_sample=False,
        min_new_tokens=_NEW_TOKENS,
        max_new_tokens=_NEW_TOKENS,
        pad_token_id=0,
        return_dict_in_generate=True,
        output_logits=True,
    )
    return output.sequences, list(output.logits)


def gradients(
    model: Any, ids: torch.Tensor, use_cache: bool | None = False
) -> dict[str, torch.Tensor]:
    """Every parameter's gradient of the loss on a padded prompt, in training mode.

    Those of buffers, and of what the prompt does not reach, are zero.
    """
    torch.manual_seed(5)
    model.train()
    mask = padding_mask(ids)
    model(ids, attention_mask=mask, labels=ids, use_cache=use_cache).loss.backward()
    by_name = {
        name: torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
        for name, tensor in stored_tensors(model).items()
    }
    model.zero_grad(set_to_none=True)
    model.eval()
    return by_name


def unequal(ones: Mapping[str, torch.Tensor], others: Mapping[str, torch.Tensor]) -> list[str]:
    """The names of tensors that differ in any bit, or that only one collection has."""
    return [
        name
        for name in sorted({*ones, *others})
        if name not in ones or name not in others or not torch.equal(ones[name], others[name])
    ]
