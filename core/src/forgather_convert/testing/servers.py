"""The requirements of inference servers on a model's code, reimplemented from their behaviour.

The rules are those of vLLM 0.33.0 (its transformers backend, ``--model-impl transformers``), which
needs transformers 5.16.1 or later, and for norms those of SGLang 0.5.23. vLLM reads the source of
every module's ``forward`` for the attention function that it calls, replaces that function with
its own, and calls the model without its head.
"""

import ast
import inspect
import textwrap
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import nn
from torch.nn import functional
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

#: Whether the rules apply to the installed transformers.
IS_SERVED = tuple(map(int, transformers.__version__.split(".")[:2])) >= (5, 16)
#: A stand-in for a server's attention implementation, which returns joined heads.
SERVER_ATTENTION = "forgather_conformance_server"
#: The same computation with a result in the form of transformers' own attention functions.
REFERENCE_ATTENTION = "forgather_conformance_reference"

_REGISTRY = "ALL_ATTENTION_FUNCTIONS"


@dataclass(frozen=True)
class ServedLayer:
    """What a server detects about the attention of a layer.

    Attributes:
        scale: The factor of the scores.
        is_causal: Whether it considers the model a decoder.
    """

    scale: float
    is_causal: bool


def served_layers(model: nn.Module) -> dict[int, ServedLayer]:
    """The layers whose attention a server can replace, by their index.

    Raises:
        ValueError: Two modules have the attention of one layer: servers refuse that.
    """
    layers: dict[int, ServedLayer] = {}
    for name, module in model.named_modules():
        call = _attention_call(type(module))
        index = getattr(module, "layer_idx", None)
        if call is None or not isinstance(index, int):
            continue
        scale = _scale(call, module)
        if scale is None:
            continue
        if index in layers:
            raise ValueError(f"{name} is the second module with the attention of layer {index}.")
        layers[index] = ServedLayer(scale, bool(getattr(module, "is_causal", True)))
    return layers


def _attention_call(module_class: type[nn.Module]) -> ast.Call | None:
    """The one call, in the text of ``forward``, of what was looked up in transformers' registry."""
    try:
        source = inspect.getsource(inspect.unwrap(module_class.forward))
    except (OSError, TypeError):
        return None
    tree = ast.parse(textwrap.dedent(source))
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign) and _is_lookup(node.value):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names.update(target.id for target in targets if isinstance(target, ast.Name))
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names
    ]
    return calls[0] if len(calls) == 1 else None


def _is_lookup(node: ast.expr | None) -> bool:
    if isinstance(node, ast.Call):
        node = node.func
    return (
        isinstance(node, ast.Attribute | ast.Subscript)
        and isinstance(node.value, ast.Name)
        and node.value.id == _REGISTRY
    )


def _scale(call: ast.Call, module: Any) -> float | None:
    """The value of the argument ``scaling``; ``None`` where a server cannot determine it."""
    given = [keyword.value for keyword in call.keywords if keyword.arg == "scaling"]
    value: Any = None
    if not given:
        value = float(module.head_dim) ** -0.5
    elif isinstance(given[0], ast.Constant):
        value = given[0].value
    elif isinstance(given[0], ast.Attribute) and ast.unparse(given[0].value) == "self":
        value = getattr(module, given[0].attr, None)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else None


def _attend(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Any,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention without a mask, ``[1, tokens, heads, size]``.

    A server gets all requests as one sequence, and knows itself where each begins.
    """
    if attention_mask is not None or query.shape[0] != 1:
        raise ValueError("A server gets one sequence and no mask.")
    output = functional.scaled_dot_product_attention(
        query, key, value, is_causal=True, scale=scaling, enable_gqa=True
    )
    return output.transpose(1, 2), None


def _attend_as_a_server(module: nn.Module, *heads: Any, **kwargs: Any) -> tuple[torch.Tensor, None]:
    """The same, ``[tokens, heads * size]``."""
    output, weights = _attend(module, *heads, **kwargs)
    return output.reshape(output.shape[1], -1), weights


ALL_ATTENTION_FUNCTIONS.register(SERVER_ATTENTION, _attend_as_a_server)
ALL_ATTENTION_FUNCTIONS.register(REFERENCE_ATTENTION, _attend)


def served_hidden_states(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """The output of the model without its head for the rows of ``ids``, as a server calls it.

    The requests are one sequence, whose positions begin again with each of them. The model must
    have been loaded with one of the attention implementations of this module.
    """
    positions = torch.arange(ids.shape[1]).expand_as(ids)
    # The text model of a composite may have the prefix of the composite, and then no base.
    headless = model.model if model.base_model is model else model.base_model
    with torch.no_grad():
        hidden_states: torch.Tensor = headless(
            input_ids=ids.reshape(1, -1),
            inputs_embeds=None,
            position_ids=positions.reshape(1, -1),
            use_cache=False,
            return_dict=False,
        )[0]
    return hidden_states


@dataclass(frozen=True)
class NewNorm:
    """A norm that was built from its size alone.

    Attributes:
        weights: Its weights; they tell a server whether a factor is one more than its weight.
        eps: What it adds to the variance.
    """

    weights: tuple[float, ...]
    eps: float


def new_norm(norm: nn.Module) -> NewNorm:
    """Builds another norm of the same class, as SGLang does."""
    norm_class: Any = type(norm)
    made = norm_class(1)
    eps = made.eps if hasattr(made, "eps") else made.variance_epsilon
    return NewNorm(tuple(made.weight.tolist()), float(eps))
