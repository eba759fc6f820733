"""Chooses the inputs that two models are compared on.

Code may be wrong for one form of input only. So besides the prompt, models run on a single token,
two tokens, an odd number of tokens, a batch whose first row is padded on the left, and tokens
decoded one by one with a cache.

A short prompt does not reach the limits at which a model changes its behaviour: the end of a
sliding window, or the length that it was trained for before its rotary embedding was scaled.
Additional runs have positions on both sides of each limit if that is affordable:

- at most ``_OPERATIONS`` operations, estimated as two for each parameter and position and four
  for each pair of positions and dimension of an attention head. Two cores without instructions
  for bfloat16 do 10e9 operations per second in bfloat16 and 70e9 in float32, so that is about ten
  seconds at worst;
- at most ``_ATTENTION_MEMORY`` for the scores of one layer.

A rotary embedding depends only on position ids. So if its limit is too long, a few tokens are run
with position ids beyond it. For RoPE types whose frequencies change at the limit, this is always
done, once up to the last position before it and once from the first one beyond it; other types
show their scaling at every position.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from forgather_convert.logit_check.prompts import fixed_ids
from forgather_convert.quantities import counted
from forgather_convert.source.config_objects import field_of

_OPERATIONS = 1e11
#: For accelerators.
_OPERATIONS_ELSEWHERE = 1e13
_ATTENTION_MEMORY = 256 * 2**20
#: How many positions beyond a limit a run goes.
_MARGIN = 16
#: The memory for the logits of a run, in bytes: with 300,000 ids, for more positions than a margin.
_LOGIT_MEMORY = 24 * 2**20
_LOGIT_BYTES = 4
#: An odd number of tokens, more than most kernels take at a time.
_ODD_LENGTH = 11
#: The tokens in each row of the batch, and how many of the first row are padding.
_BATCH_LENGTH = 2
_PADDING = 1
#: How many tokens are decoded with a cache.
_CACHED_STEPS = 2
#: How many tokens are run on either side of a length at which frequencies change.
_NEAR = 4

_GIVEN = " at given positions"
#: RoPE types whose frequencies depend on the length.
_SWITCHING = ("dynamic", "longrope")
#: RoPE types that know the length before it was extended.
_SCALED_FROM_LENGTH = (*_SWITCHING, "yarn", "llama3")


@dataclass(frozen=True, order=True)
class Limit:
    """A number of positions beyond which a model behaves differently.

    Attributes:
        length: The number of positions.
        name: What ends there, for messages.
        is_rotary: Whether the rotary embedding is what changes.
        is_switch: Whether its frequencies change there.
    """

    length: int
    name: str
    is_rotary: bool = False
    is_switch: bool = False

    def __str__(self) -> str:
        return f"the {self.name} of {self.length}"


@dataclass(frozen=True)
class ModelSize:
    """The properties of a model that determine the time and memory of a run.

    Attributes:
        parameters: The number of parameters without embeddings and head.
        layers: The number of layers.
        heads: The number of query heads.
        head_dim: The size of a head.
    """

    parameters: int
    layers: int
    heads: int
    head_dim: int

    def operations(self, length: int) -> float:
        """The estimated number of operations for this many positions."""
        attention = 4.0 * length * length * self.heads * self.head_dim * self.layers
        return 2.0 * self.parameters * length + attention

    def attention_memory(self, length: int) -> int:
        """The size of a layer's scores and their softmax in float32, in bytes."""
        return 8 * length * length * self.heads


@dataclass(frozen=True)
class Run:
    """An input for a model.

    Attributes:
        name: Its name in messages.
        rows: The tokens of each row of the batch; all rows have the same length.
        first_position: The position of the first token.
        padding: How many of the first row's tokens are padding.
        steps: Tokens decoded one by one after the others, with a cache.
        states_positions: Whether all positions are given, although they begin with 0.
    """

    name: str
    rows: tuple[tuple[int, ...], ...]
    first_position: int = 0
    padding: int = 0
    steps: tuple[int, ...] = ()
    states_positions: bool = False

    @classmethod
    def of(cls, name: str, ids: Sequence[int], first_position: int = 0) -> "Run":
        """A run of one row."""
        return cls(name, (tuple(ids),), first_position)

    @property
    def length(self) -> int:
        """The number of tokens in each row, without those decoded one by one."""
        return len(self.rows[0])

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class PositionPlan:
    """The runs of a check.

    Attributes:
        runs: The runs; the prompt comes first.
        covered: The limits that a run goes beyond.
        not_covered: The other limits.
    """

    runs: tuple[Run, ...]
    covered: tuple[Limit, ...]
    not_covered: tuple[Limit, ...]


@dataclass(frozen=True)
class AllowedInputs:
    """The inputs that a model takes.

    Attributes:
        tokens: The ids that may be used.
        most: The number of positions that the model has; ``None`` if it is unlimited.
        states_positions: Whether to give the positions with padding or a cache, since some models
            of images count them in another way where they are not given.
    """

    tokens: Sequence[int]
    most: int | None = None
    states_positions: bool = False


def plan_runs(
    prompt: Sequence[int],
    limits: Iterable[Limit],
    size: ModelSize,
    device: str,
    inputs: AllowedInputs,
) -> PositionPlan:
    """Chooses the runs.

    Args:
        prompt: The prompt's token ids.
        limits: The limits to go beyond.
        size: The model's size.
        device: The device it runs on, such as ``"cuda:0"``.
        inputs: The inputs that it takes.
    """
    tokens = inputs.tokens
    runs = _forms(prompt, inputs)
    longest = max(run.length for run in runs)
    # Limits that an existing run covers, with positions on both sides.
    covered = {limit for limit in limits if limit.length < longest and not limit.is_switch}
    remaining = sorted(set(limits) - covered)

    within_reach = [
        limit
        for limit in remaining
        if not limit.is_switch and _is_affordable(limit.length + _MARGIN, size, device)
    ]
    for limit in reversed(within_reach):
        if limit in covered:
            continue
        length = limit.length + _MARGIN
        runs.append(Run.of(f"{length} tokens", fixed_ids(tokens, length)))
        first_kept = length - num_logit_positions(length, len(tokens))
        covered.update(other for other in within_reach if first_kept < other.length <= limit.length)

    for limit in remaining:
        if limit.is_switch:
            for first in (max(0, limit.length - _NEAR), max(1, limit.length - _NEAR + 1)):
                ids = fixed_ids(tokens, min(_NEAR, limit.length))
                runs.append(Run.of(_name_at(ids, first), ids, first))
            covered.add(limit)
    rotary = [limit for limit in remaining if limit.is_rotary and limit not in covered]
    if rotary and _is_affordable(_MARGIN, size, device):
        ids = fixed_ids(tokens, _MARGIN)
        runs.append(Run.of(_name_at(ids, rotary[-1].length), ids, rotary[-1].length))
        covered.update(rotary)
    return PositionPlan(
        tuple(runs),
        tuple(sorted(covered)),
        tuple(limit for limit in remaining if limit not in covered),
    )


def _forms(prompt: Sequence[int], inputs: AllowedInputs) -> list[Run]:
    """The prompt, and a run for each form that input may have."""
    tokens, most, states_positions = inputs.tokens, inputs.most, inputs.states_positions
    ids = list(prompt)[: most if most is None else max(1, most - _CACHED_STEPS)]
    steps = fixed_ids(tokens, _CACHED_STEPS)[: None if most is None else max(0, most - len(ids))]
    name = f"the prompt ({counted(len(ids), 'token')})"
    if steps:
        name += f" and {len(steps)} cached steps"
    if states_positions:
        name += _GIVEN
    runs = [Run(name, (tuple(ids),), steps=tuple(steps), states_positions=states_positions)]
    runs += [
        Run.of(counted(length, "token"), fixed_ids(tokens, length))
        for length in (1, 2, _ODD_LENGTH)
        if most is None or length <= most
    ]
    if most is None or most >= _BATCH_LENGTH:
        both = fixed_ids(tokens, 2 * _BATCH_LENGTH)
        rows = tuple(both[:_BATCH_LENGTH]), tuple(both[_BATCH_LENGTH:])
        name = "a batch of 2 with left padding"
        if states_positions:
            name += _GIVEN
        runs.append(Run(name, rows, padding=_PADDING, states_positions=states_positions))
    return runs


def _name_at(ids: Sequence[int], first: int) -> str:
    return f"{counted(len(ids), 'token')} from position {first} on"


def num_logit_positions(length: int, num_tokens: int) -> int:
    """The number of a run's last positions whose logits are kept.

    The logits of a position depend on all positions before it.
    """
    return max(1, min(length, _LOGIT_MEMORY // (num_tokens * _LOGIT_BYTES)))


def _is_affordable(length: int, size: ModelSize, device: str) -> bool:
    budget = _OPERATIONS if device.partition(":")[0] == "cpu" else _OPERATIONS_ELSEWHERE
    is_quick = size.operations(length) <= budget
    return is_quick and size.attention_memory(length) <= _ATTENTION_MEMORY


def size_of(model: Any) -> ModelSize:
    """The size of a transformers model; a number that its config does not state counts as one."""
    config = model.config.get_text_config()
    apart = {
        id(module.weight)
        for module in (model.get_input_embeddings(), model.get_output_embeddings())
        if module is not None
    }
    count = sum(parameter.numel() for parameter in model.parameters() if id(parameter) not in apart)
    heads = getattr(config, "num_attention_heads", None) or 1
    hidden_size = getattr(config, "hidden_size", None) or 1
    return ModelSize(
        parameters=count,
        layers=getattr(config, "num_hidden_layers", None) or 1,
        heads=heads,
        head_dim=field_of(config, "head_dim") or max(1, hidden_size // heads),
    )


def limits_of(config: Any) -> frozenset[Limit]:
    """The limits at which a model changes its behaviour, from its config object."""
    config = config.get_text_config()
    return frozenset((*_attention_limits(config), *_rotary_limits(config)))


def _attention_limits(config: Any) -> Iterable[Limit]:
    layer_types = getattr(config, "layer_types", None)
    window = getattr(config, "sliding_window", None)
    if layer_types is None:
        slides = getattr(config, "use_sliding_window", None) is not False
    else:
        slides = "sliding_attention" in layer_types
    if window and slides:
        yield Limit(int(window), "window")
    chunk = getattr(config, "attention_chunk_size", None)
    if chunk and "chunked_attention" in (layer_types or ()):
        yield Limit(int(chunk), "attention chunk")


def _rotary_limits(config: Any) -> Iterable[Limit]:
    longest = getattr(config, "max_position_embeddings", None)
    for parameters in _rope_parameters(config):
        kind = parameters.get("rope_type", parameters.get("type", "default"))
        if kind not in _SCALED_FROM_LENGTH:
            continue
        said = (
            parameters.get("original_max_position_embeddings"),
            getattr(config, "original_max_position_embeddings", None),
        )
        lengths = {int(length) for length in said if length}
        if longest and (kind == "dynamic" or not lengths):
            lengths.add(int(longest))
        for length in lengths:
            yield Limit(length, "original length", is_rotary=True, is_switch=kind in _SWITCHING)


def _rope_parameters(config: Any) -> Iterable[dict[str, Any]]:
    """The parameters of the rotary embeddings: one set, or one for each type of layer."""
    # transformers 5 and Forgather configs have the first; transformers 4 has the second.
    for name in ("rope_parameters", "rope_scaling"):
        parameters = getattr(config, name, None)
        if not isinstance(parameters, dict):
            continue
        inner = [value for value in parameters.values() if isinstance(value, dict)]
        yield from inner or [parameters]
