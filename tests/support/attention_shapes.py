"""A family's model and its dynamic model in memory, with heads of any size."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from forgather_convert.converter_tools.tiny_models import build_forgather, project_of
from forgather_convert.discovery.choice import resolve_converter
from forgather_convert.discovery.installed import installed_model_types
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.models.meta_device import on_meta_device
from forgather_convert.models.parameters import parameters_of
from forgather_convert.models.reference import ReferenceClasses
from forgather_convert.models.saved_state import as_saved
from forgather_convert.tensors.dtypes import to_torch
from forgather_convert.tensors.evaluation import Evaluator, bytes_of
from forgather_convert.tensors.expressions import Constant
from forgather_convert.tensors.matching import match_tensors

HEADS = 4
#: The longest sequence of the sweep, and one more.
LENGTH = 71

_ROPE = ("rope_scaling", "rope_parameters")
#: In which configs differ whose attention is the same.
_OTHER_FIELDS = {
    "bos_token_id",
    "eos_token_id",
    "max_position_embeddings",
    "original_max_position_embeddings",
    "pad_token_id",
    "rope_theta",
    "tie_word_embeddings",
    "vocab_size",
}


def families_with_attention() -> list[str]:
    """The model types whose models have heads; those of a state space are no attention's.

    Each once: not by another name for it.
    """
    hooks = {name: resolve_converter(name) for name in installed_model_types()}
    return [
        name
        for name, each in hooks.items()
        if "num_attention_heads" in {*each.get_hyperparameters(), *each.get_field_names().values()}
        if each.model_type not in each.converter.aliases
    ]


def cases(family: str, head_dim: int) -> list[Mapping[str, Any]]:
    """Config fields of tiny models whose heads have a size, one for each kind of rotation.

    The fields are a family's own tiny configs. Embeddings that are scaled have one factor for each
    pair of dimensions in some of them; they do not change how heads lie in memory.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for fields in _cases(resolve_converter(family), head_dim):
        attention = sorted((name, fields[name]) for name in fields.keys() - _OTHER_FIELDS)
        found.setdefault(repr(attention), fields)
    return [*found.values()]


def _cases(hooks: FamilyHooks, head_dim: int) -> Iterator[Mapping[str, Any]]:
    for fields in hooks.get_tiny_configs().values():
        sized = {**copy.deepcopy(dict(fields)), "model_type": hooks.model_type}
        if "n_embd" in sized:
            sized |= {"n_embd": HEADS * head_dim, "n_head": HEADS, "n_inner": 16}
            yield {**sized, "rotary_dim": head_dim} if "rotary_dim" in sized else sized
            continue
        sized |= {"hidden_size": HEADS * head_dim, "num_attention_heads": HEADS}
        sized |= {"intermediate_size": 16, "max_position_embeddings": 2 * LENGTH}
        for name in ("head_dim", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"):
            if name in sized or name in hooks.get_hyperparameters():
                sized[name] = head_dim
        for name in _ROPE:
            sized.pop(name, None)
        if "partial_rotary_factor" not in hooks.get_hyperparameters():
            yield sized
            continue
        for part in (1.0, sized.pop("partial_rotary_factor", 0.5)):
            if int(head_dim * part) % 2 == 0 and int(head_dim * part) > 0:
                # Whichever of them a family has.
                yield {**sized, "partial_rotary_factor": part, "rotary_pct": part}


def both_models(fields: Mapping[str, Any], dtype: torch.dtype) -> tuple[Any, Any]:
    """A model with random weights, and its dynamic model with the same."""
    hooks = resolve_converter(fields["model_type"])
    classes = ReferenceClasses.of(hooks)
    config = classes.read(fields, "the config of the sweep")
    config.architectures = [classes.model_class.__name__]
    torch.manual_seed(0)
    source = classes.model_class(copy.deepcopy(config)).eval()
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.normal_(float(parameter.dim() == 1), 0.3)
        # Not all buffers: a model that is loaded in a dtype has its frequencies in float32.
        for name, buffer in _built_in(dtype, classes.model_class, config).named_buffers():
            source.get_buffer(name).data = source.get_buffer(name).to(buffer.dtype)
        for tensor in source.state_dict(keep_vars=True).values():
            if tensor.is_floating_point():
                tensor.data = tensor.data.to(dtype)
    completed, project = project_of(hooks, config)
    result = build_forgather(project).to(dtype).eval()
    _fill(result, source, hooks, completed, config)
    return source, result


def _built_in(dtype: torch.dtype, model_class: Any, config: Any) -> Any:
    """A model without values whose unsaved buffers have the dtypes of those of a loaded one."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with on_meta_device():
            return model_class(copy.deepcopy(config))
    finally:
        torch.set_default_dtype(before)


def _fill(result: Any, source: Any, hooks: FamilyHooks, completed: Any, config: Any) -> None:
    expected = parameters_of(lambda: hooks.get_hf_model_class()(copy.deepcopy(config)))
    state = {
        name: Constant(str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape), _data(tensor))
        for name, tensor in as_saved(source, source.state_dict()).items()
        if name in expected
    }
    parameters = parameters_of(lambda: type(result)(result.config))
    match = match_tensors(state, hooks.weight_mapping(), parameters, completed, "the sweep")
    with Evaluator() as evaluator, torch.no_grad():
        own = result.state_dict(keep_vars=True)
        for name, value in match.expressions.items():
            flat = torch.cat([piece.view(-1) for piece in evaluator.pieces(value)])
            assert to_torch(value.dtype) == own[name].dtype
            own[name].copy_(flat.view(value.shape))


def _data(tensor: torch.Tensor) -> bytes:
    return bytes(bytes_of(tensor.detach().contiguous()))
