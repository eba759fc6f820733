"""The logit check: source and result must compute the same logits."""

import gc
import inspect
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgather_convert.errors import ValidationError, cause_of
from forgather_convert.logit_check.positions import (
    AllowedInputs,
    Limit,
    PositionPlan,
    Run,
    limits_of,
    num_logit_positions,
    plan_runs,
    size_of,
)
from forgather_convert.logit_check.prompts import choose_ids, tokenize, tokens_of_text
from forgather_convert.models.trial_run import most_positions
from forgather_convert.options import DEFAULT_PROMPT
from forgather_convert.progress import Phase, Progress
from forgather_convert.quantities import describe_seconds
from forgather_convert.source.composite import TEXT_CONFIG
from forgather_convert.tensors.expressions import Expression
from forgather_convert.tensors.weight_mapping import WeightMapping
from forgather_convert.vocabulary.change import VocabularyChange

if TYPE_CHECKING:
    import torch

    from forgather_convert.logit_check.cast_cost import CastCost
    from forgather_convert.logit_check.comparison import Difference
    from forgather_convert.logit_check.first_difference import FirstDifference
    from forgather_convert.logit_check.streamed_parameters import LogitSelection

logger = logging.getLogger(__name__)

#: The bytes of both models' parameters from which on the duration of a check is estimated, and the
#: seconds from which on the estimate is worth a message.
_LARGE = 10**9
_LONG = 20


@dataclass(frozen=True)
class CheckedModel:
    """One of the two models of a check.

    Attributes:
        name: Its name in messages: ``"source"``.
        load: Loads it as a causal LM of transformers, on the CPU, with parameters mapped from
            their files in the dtypes that they are stored in.
        tokenizer_directory: The directory of its tokenizer, if it has one.
        hf_config: Its Hugging Face config, which names the tokenizer's class if the tokenizer's
            files do not.
        code: The code that runs, for the certificate.
        is_own_code: Whether that is the code that users of the model run.
        notes: Where loading it differed from what its users do, for the certificate.
        weights: Its tensors by their names; the source's are read if logits are undefined.
    """

    name: str
    load: Callable[[], Any]
    tokenizer_directory: Path
    hf_config: Any
    code: str = ""
    is_own_code: bool = True
    notes: list[str] = field(default_factory=list)
    weights: Mapping[str, Expression] = field(default_factory=dict)


@dataclass(frozen=True)
class CheckSettings:
    """How two models are run and compared.

    Attributes:
        dtype: The dtype to run in, such as ``"bfloat16"``.
        prompt: A text.
        device: The device to run on.
        mapping: From the source's tensor names to the result's; ``None`` if they have the same.
        cast_from: The dtype of the source's values, if the conversion rounds them.
        tolerance: How much logits may differ; ``None`` if not at all.
    """

    dtype: str
    prompt: str = DEFAULT_PROMPT
    device: str = "cpu"
    mapping: WeightMapping | None = None
    cast_from: str | None = None
    tolerance: float | None = None


@dataclass(frozen=True)
class LogitComparison:
    """The result of comparing two models' logits.

    Attributes:
        are_equal: Whether they are equal, bit for bit.
        max_difference: The largest absolute difference.
        num_tokens: How many positions were compared.
        covered: The limits, such as windows, that compared positions are beyond.
        not_covered: The limits that they do not reach.
        first_difference: Where the models first differ; ``None`` if they do not.
        cast: The effect of casting the weights; ``None`` if they keep their values.
        runs: The inputs that both were run on.
        codes: The code that was run for the source, and for the result.
        is_own_code: Whether both are the code that users of the models run.
        num_undefined: How many logits are undefined and were not compared.
        num_logits: How many logits each model computed.
        tolerance: How much they may differ; ``None`` if not at all.
        notes: What loading the models did otherwise than their users do.
    """

    are_equal: bool
    max_difference: float
    num_tokens: int
    covered: tuple[Limit, ...] = ()
    not_covered: tuple[Limit, ...] = ()
    first_difference: "FirstDifference | None" = None
    cast: "CastCost | None" = None
    runs: tuple[str, ...] = ()
    codes: tuple[str, str] = ("", "")
    is_own_code: bool = True
    num_undefined: int = 0
    num_logits: int = 0
    tolerance: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_accepted(self) -> bool:
        """Whether the logits are equal, or within the tolerance."""
        return self.are_equal or (
            self.tolerance is not None and self.max_difference <= self.tolerance
        )


def check_logits(
    source: CheckedModel,
    result: CheckedModel,
    settings: CheckSettings,
    vocabulary: VocabularyChange | None = None,
    progress: Progress | None = None,
) -> LogitComparison:
    """Compares the logits of a conversion's source and result; see :func:`compare_logits`.

    If the vocabulary changes, the logits of the shared tokens are compared. If the conversion
    rounds the weights, the effect of that is measured as well.

    Args:
        source: The model that was converted.
        result: The converted model.
        settings: How they are run and compared.
        vocabulary: The changes of the vocabulary.
        progress: Receives the bytes of parameters read, in the phase ``CHECK``.

    Raises:
        ValidationError: The logits differ, or are undefined, or a model does not run.
    """
    comparison = compare_logits(source, result, settings, _shared_tokens(vocabulary), progress)
    if not comparison.is_accepted:
        raise ValidationError(
            "Model logits are dissimilar: the result does not compute what the source computes "
            f"(largest difference {comparison.max_difference:g} over {comparison.num_tokens} "
            "positions). Nothing was written. Check the names with --debug-params; if the "
            "difference is expected, accept it with --logit-tolerance, or use --no-logit-check.\n"
            f"{comparison.first_difference}"
            f"{_beside_the_cast(comparison.cast)}"
        )
    if comparison.are_equal:
        logger.info(
            "Logits are identical over %d positions%s",
            comparison.num_tokens,
            describe_limits(comparison),
        )
    else:
        logger.warning(
            "Logits differ by up to %g over %d positions%s; --logit-tolerance accepts %g",
            comparison.max_difference,
            comparison.num_tokens,
            describe_limits(comparison),
            comparison.tolerance,
        )
    logger.info("Compared on %s", ", ".join(comparison.runs))
    logger.info("Code run for the source: %s; for the result: %s", *comparison.codes)
    if comparison.cast is not None:
        cast = comparison.cast
        logger.info(
            "Casting %s to %s changes the logits: %s. %s",
            cast.stored_dtype,
            cast.dtype,
            cast.result,
            "That is exactly the effect of the cast; the conversion adds nothing"
            if comparison.are_equal
            else f"A plain cast of the source: {cast.plain_cast}",
        )
    return comparison


def compare_logits(
    source: CheckedModel,
    result: CheckedModel,
    settings: CheckSettings,
    tokens: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> LogitComparison:
    """Runs the same tokens through both models and compares their logits.

    Both run in the same dtype: if that is not the source's, the source's weights are rounded as
    the conversion rounds them, so that the logits must still be exactly equal.

    Args:
        source: One model.
        result: The other.
        settings: How they are run and compared.
        tokens: The ids whose logits are compared; ``None`` for all.
        progress: Receives the bytes of parameters read, in the phase ``CHECK``.

    Raises:
        ValidationError: The logits are undefined, or a model does not run.
    """
    in_source = tokenize(source.tokenizer_directory, source.hf_config, settings.prompt)
    in_result = None
    if in_source is not None:
        in_result = tokenize(result.tokenizer_directory, result.hf_config, settings.prompt)

    models = source.load(), result.load()
    for model in models:
        _record_nothing(model.config)
    model_config = models[0].config
    limits = limits_of(model_config), limits_of(models[1].config)
    known = range(model_config.get_text_config().vocab_size) if tokens is None else tokens
    usable = tokens_of_text(known, (model.config for model in models))
    ids = choose_ids(in_source, in_result, usable)
    # A limit that only one of them has shows at the positions beyond it.
    planned = plan_runs(
        ids,
        limits[0] | limits[1],
        size_of(models[0]),
        settings.device,
        AllowedInputs(
            usable,
            most_positions(model_config),
            any(hasattr(model.config, TEXT_CONFIG) for model in models),
        ),
    )
    passes = _Passes(progress or Progress())
    how = _Settings(settings.dtype, settings.device, tokens, passes.progress.advance)
    dtype, cast_from = settings.dtype, settings.cast_from
    passes.expect(*models)
    cast = None
    if cast_from is None:
        differences, _ = _compare_runs((source, result), models, planned.runs, how)
    else:
        from forgather_convert.logit_check.cast_cost import CastCost, logit_statistics
        from forgather_convert.logit_check.layer_outputs import layer_outputs, relative_differences

        # The effect of the cast is measured on the prompt: the other runs are not text.
        passes.expect(models[0], models[0])
        with_prompt = [replace(planned.runs[0], steps=())]
        with layer_outputs(models[0]) as outputs_stored:
            stored = _logits(source, models[0], with_prompt, replace(how, dtype=cast_from))
        with layer_outputs(models[0]) as outputs:
            _logits(source, models[0], with_prompt, how)
        layers = relative_differences(outputs_stored, outputs)
        del outputs_stored, outputs
        differences, of_prompt = _compare_runs(
            (source, result), models, planned.runs, how, keeps_first=True
        )
        count = stored[0].shape[1]
        plain, converted = ([logits[:, :count]] for logits in of_prompt)
        of_result, of_cast = logit_statistics(stored, converted), logit_statistics(stored, plain)
        if of_result is not None and of_cast is not None:
            cast = CastCost(cast_from, dtype, of_result, of_cast, layers)
    comparison, wrong = _summarize(differences, planned, source.weights, dtype)
    comparison = replace(
        comparison,
        cast=cast,
        codes=(source.code, result.code),
        is_own_code=source.is_own_code and result.is_own_code,
        tolerance=settings.tolerance,
        notes=(*source.notes, *result.notes),
    )
    if wrong is None or comparison.is_accepted:
        return comparison
    from forgather_convert.logit_check.first_difference import find_first_difference

    # They refer to themselves, and would stay in memory beside those that are loaded now.
    del models
    gc.collect()
    quiet = replace(how, advance=_ignore)
    first = find_first_difference(
        source.load(), result.load(), settings.mapping, lambda model: _run(model, wrong, quiet)
    )
    return replace(comparison, first_difference=first)


@dataclass(frozen=True)
class _Settings:
    """How the models are run; ``tokens`` are the ids whose logits are computed."""

    dtype: str
    device: str
    tokens: Sequence[int] | None
    advance: Callable[[int], None]


class _Passes:
    """The number of bytes of parameters that will be read."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self._total = 0

    def expect(self, *models: Any) -> None:
        """Adds one pass over each model."""
        from forgather_convert.logit_check.streamed_parameters import stored_bytes

        self._total += sum(map(stored_bytes, models))
        self.progress.start(Phase.CHECK, self._total)


def _shared_tokens(vocabulary: VocabularyChange | None) -> Sequence[int] | None:
    """The ids whose rows are the same in source and result; ``None`` for all."""
    if vocabulary is None:
        return None
    if vocabulary.size != vocabulary.size_before:
        logger.log(
            logging.INFO if vocabulary.is_default else logging.WARNING,
            "Vocab size mismatch: the source has %d tokens, the result %d; "
            "comparing the logits of the shared ones",
            vocabulary.size_before,
            vocabulary.size,
        )
    return vocabulary.untouched_rows


#: The exceptions of code that does not run.
_RUN_ERRORS = (RuntimeError, ValueError, TypeError, LookupError, AttributeError)


def _logits(
    side: CheckedModel, model: Any, runs: Iterable[Run], settings: _Settings
) -> list["torch.Tensor"]:
    """The logits of each run, ``[1, positions, tokens]``, on the CPU."""
    try:
        return [_run(model, run, settings) for run in runs]
    except _RUN_ERRORS as error:
        raise _does_not_run(side, error) from error


def _compare_runs(
    sides: tuple[CheckedModel, CheckedModel],
    models: tuple[Any, Any],
    runs: Sequence[Run],
    settings: _Settings,
    keeps_first: bool = False,
) -> tuple[list["Difference"], list["torch.Tensor"]]:
    """Compares the logits of two models; each parameter is read once for all runs.

    Returns:
        The comparison of each run, and the logits of both models for the prompt if they are kept.
    """
    from forgather_convert.logit_check.comparison import compare
    from forgather_convert.logit_check.lockstep import Lockstep, LockstepRun, places_of
    from forgather_convert.logit_check.streamed_parameters import streaming
    from forgather_convert.tensors.dtypes import to_torch

    def begin(model: Any, parameters: Any) -> list[LockstepRun]:
        return [
            LockstepRun(
                model,
                parameters,
                _selection(model, run, settings),
                partial(_compute, run=run, settings=settings),
            )
            for run in runs
        ]

    differences: list[list[Difference]] = [[] for _ in runs]
    first: list[torch.Tensor] = []

    def receive(number: int, expected: "torch.Tensor", actual: "torch.Tensor") -> None:
        differences[number].append(compare(expected, actual))
        if keeps_first and not first:
            first.extend((expected, actual))

    dtype, device, advance = to_torch(settings.dtype), settings.device, settings.advance
    with ExitStack() as stack:
        parameters = []
        for side, model in zip(sides, models, strict=True):
            try:
                parameters.append(stack.enter_context(streaming(model, dtype, device, advance)))
            except _RUN_ERRORS as error:
                raise _does_not_run(side, error) from error
        ours, theirs = parameters
        _announce(models, ours, runs)
        both = begin(models[0], ours), begin(models[1], theirs)
        Lockstep(*both, (places_of(ours), places_of(theirs)), receive).complete()
        for side, begun in zip(sides, both, strict=True):
            for one in begun:
                if isinstance(one.error, _RUN_ERRORS):
                    raise _does_not_run(side, one.error) from one.error
                if one.error is not None:
                    raise one.error
    return [sum(parts[1:], parts[0]) for parts in differences], first


def _announce(models: tuple[Any, Any], parameters: Any, runs: Sequence[Run]) -> None:
    """Says how long the check of a large model will take."""
    from forgather_convert.logit_check.duration import estimate_seconds
    from forgather_convert.logit_check.streamed_parameters import stored_bytes

    if sum(map(stored_bytes, models)) < _LARGE:
        return
    seconds = estimate_seconds(models[0], parameters, runs)
    logger.log(
        logging.INFO if seconds >= _LONG else logging.DEBUG,
        "The check will take about %s, judged by a sample",
        describe_seconds(seconds),
    )


def _does_not_run(side: CheckedModel, error: Exception) -> ValidationError:
    return ValidationError(
        f"The {side.name} loads but does not run: {cause_of(error)}. Nothing "
        "was written. Use --no-logit-check to convert anyway."
    )


def _selection(model: Any, run: Run, settings: _Settings) -> "LogitSelection":
    from forgather_convert.logit_check.streamed_parameters import LogitSelection

    return LogitSelection(settings.tokens, _num_kept(model, run, settings))


def _num_kept(model: Any, run: Run, settings: _Settings) -> int:
    tokens = settings.tokens
    num_tokens = model.config.get_text_config().vocab_size if tokens is None else len(tokens)
    return num_logit_positions(run.length, num_tokens)


def _run(model: Any, run: Run, settings: _Settings) -> "torch.Tensor":
    """The logits of a run without padding, ``[1, positions, tokens]``, on the CPU."""
    import torch

    from forgather_convert.logit_check.streamed_parameters import streamed
    from forgather_convert.tensors.dtypes import to_torch

    selection, dtype = _selection(model, run, settings), to_torch(settings.dtype)
    with (
        torch.no_grad(),
        streamed(model, dtype, settings.device, selection, settings.advance),
    ):
        return torch.cat([*_compute(model, run, settings)], 1)


def _record_nothing(config: Any) -> None:
    """Turns off all outputs of a model but its logits.

    Some versions of transformers replace the forward methods of modules while they record other
    outputs, which would disturb the other runs.
    """
    for name in ("output_attentions", "output_hidden_states", "output_router_logits"):
        if getattr(config, name, False):
            setattr(config, name, False)


def _compute(model: Any, run: Run, settings: _Settings) -> Iterator["torch.Tensor"]:
    """The same, for a model that is prepared to run: of the rows, and of each cached step."""
    import torch

    device, kept = settings.device, _num_kept(model, run, settings)
    ids = torch.tensor(run.rows, device=device)
    arguments: dict[str, Any] = {"input_ids": ids, **_cache_options(bool(run.steps))}
    if run.first_position or run.states_positions:
        positions = torch.arange(run.length, device=device) + run.first_position
        arguments["position_ids"] = positions.unsqueeze(0)
    if run.padding:
        mask = torch.ones_like(ids)
        mask[0, : run.padding] = 0
        arguments["attention_mask"] = mask
    output = model(**arguments)
    cache = cache_argument(model, output) if run.steps else {}
    first, *others = _logits_in(output, settings)[:, -kept:]
    del output
    first = first[max(0, run.padding - run.length + kept) :]
    yield (torch.cat((first, *others)) if others else first).unsqueeze(0)
    del first, others
    for number, token in enumerate(run.steps):
        arguments = {"input_ids": torch.tensor([[token]], device=device)}
        if run.states_positions:
            arguments["position_ids"] = torch.tensor([[run.length + number]], device=device)
        output = model(**arguments, **_cache_options(True), **cache)
        cache = cache_argument(model, output)
        yield _logits_in(output, settings)[:, -1:]


def _cache_options(has_cache: bool) -> dict[str, bool]:
    # The framework's models return only the logits unless an output object is requested.
    return {"use_cache": True, "return_dict": True} if has_cache else {"use_cache": False}


def _logits_in(output: Any, settings: _Settings) -> "torch.Tensor":
    import torch

    logits: torch.Tensor = output if isinstance(output, torch.Tensor) else output.logits
    tokens = settings.tokens
    if tokens is not None and logits.shape[-1] != len(tokens):
        # The model does not compute its logits with a head.
        logits = logits[..., torch.as_tensor(tokens, device=logits.device)]
    return logits.cpu()


def cache_argument(model: Any, output: Any) -> dict[str, Any]:
    """The cache that a model returned, as the argument to pass it back with."""
    parameters = inspect.signature(model.forward).parameters
    name = "cache" if "cache" in parameters else "past_key_values"
    return {name: output["cache"] if "cache" in output else output["past_key_values"]}


def trains_with_cache(model: Any, ids: "torch.Tensor") -> bool:
    """Whether a model fills a cache in training unless it is told not to.

    A converted model does so only for layers that keep a state. Elsewhere, it and the original,
    which does, train alike without one: the copies in a cache have another memory layout, which
    changes the last bits on some processors.
    """
    import torch

    with torch.no_grad():
        output = model.train()(ids)
    model.eval()
    return "cache" in output or "past_key_values" in output


def _summarize(
    differences: Sequence["Difference"],
    plan: PositionPlan,
    weights: Mapping[str, Expression],
    dtype: str,
) -> tuple[LogitComparison, Run | None]:
    """Adds up the comparisons of all runs; also gives the first run whose logits differ."""
    comparison = LogitComparison(
        are_equal=all(difference.are_equal for difference in differences),
        max_difference=max(difference.largest for difference in differences),
        num_tokens=sum(difference.num_positions for difference in differences),
        covered=plan.covered,
        not_covered=plan.not_covered,
        runs=tuple(map(str, plan.runs)),
        num_undefined=sum(difference.num_undefined for difference in differences),
        num_logits=sum(difference.num_logits for difference in differences),
    )
    if not comparison.are_equal:
        pairs = zip(plan.runs, differences, strict=True)
        return comparison, next(run for run, difference in pairs if not difference.are_equal)
    if comparison.num_undefined:
        _check_undefined(comparison, weights, dtype)
    return comparison, None


def _beside_the_cast(cast: "CastCost | None") -> str:
    """For the error message: compares the result with a plain cast."""
    if cast is None:
        return ""
    return (
        f"\nThis is not the effect of the cast. Compared with the source in {cast.stored_dtype}:"
        f"\n  the result: {cast.result}"
        f"\n  a plain cast to {cast.dtype}: {cast.plain_cast}"
    )


def _check_undefined(
    comparison: LogitComparison, weights: Mapping[str, Expression], dtype: str
) -> None:
    """Accepts undefined logits only if they come from NaN or infinite weights."""
    from forgather_convert.logit_check.comparison import find_non_finite_weight

    count, total = comparison.num_undefined, comparison.num_logits
    name = find_non_finite_weight(weights)
    if name is None:
        cause = (
            "float16 cannot hold values above 65504, and the model's are larger: use --dtype "
            "bfloat16 or --dtype float32"
            if dtype == "float16"
            else "the source's weights are all finite, so the model overflows; if it also does so "
            "without this tool, use --no-logit-check"
        )
        raise ValidationError(
            f"Model logits are not numbers: {count} of {total} are NaN or infinite in source and "
            f"result, so they cannot be compared. Nothing was written. Cause: {cause}."
        )
    logger.warning(
        "The source's '%s' contains NaN or infinite values. %d of %d logits are not numbers and "
        "were not compared%s",
        name,
        count,
        total,
        ": the logit check proves nothing" if count == total else "",
    )


def describe_limits(comparison: LogitComparison) -> str:
    """The limits that compared positions are beyond: ``", past the window of 8"``."""
    text = ""
    if comparison.covered:
        text += ", past " + " and ".join(map(str, comparison.covered))
    if comparison.not_covered:
        limits = " and ".join(map(str, comparison.not_covered))
        verb = "were" if len(comparison.not_covered) > 1 else "was"
        text += f" ({limits} {verb} not reached: too long for a check of this size)"
    return text


def _ignore(_: object) -> None:
    pass
