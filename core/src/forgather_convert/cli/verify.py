"""``forgather verify``."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from forgather_convert.cli.command_state import CommandState
from forgather_convert.cli.console import echo_json, phase_display, set_up_logging
from forgather_convert.cli.converter_options import CONVERTER_GROUP, converter_options
from forgather_convert.cli.help import GroupedCommand
from forgather_convert.cli.parameters import DirectoryParameter
from forgather_convert.cli.tables import BAD, GOOD, Labelled, print_labelled, print_line
from forgather_convert.cli.verbosity import VERBOSITY_OPTIONS, Verbosity, verbosity_options
from forgather_convert.options import DEFAULT_PROMPT
from forgather_convert.source.hub import resolve_source, stay_offline
from forgather_convert.tensors.names import enumerate_names

if TYPE_CHECKING:
    from forgather_convert.compare.result import (
        TensorComparison,
        TensorDifference,
        Verification,
        VerifiedModel,
    )

_DIFFERENT = 1


@click.command(
    "verify",
    cls=GroupedCommand,
    option_groups={
        "Comparison options": (
            "--device",
            "--prompt",
            "--no-logit-check",
            "--dequantize",
            "--trust-remote-code",
        ),
        CONVERTER_GROUP[0]: CONVERTER_GROUP[1],
        "Reporting options": ("--json", *VERBOSITY_OPTIONS),
    },
    examples=("forgather verify path/to/hf_model path/to/fg_model",),
    short_help="Check whether two directories hold the same model.",
)
@click.argument("a", metavar="A", type=DirectoryParameter(path_type=Path))
@click.argument("b", metavar="B", type=DirectoryParameter(path_type=Path))
@click.option(
    "--device",
    metavar="DEVICE",
    default="cpu",
    show_default=True,
    help="Device to compute logits on.",
)
@click.option(
    "--prompt", default=DEFAULT_PROMPT, show_default=True, help="Text to run both models on."
)
@click.option("--no-logit-check", is_flag=True, help="Do not compare the logits.")
@click.option(
    "--dequantize", is_flag=True, help="Compare the dequantized values of quantized weights."
)
@click.option(
    "--trust-remote-code",
    is_flag=True,
    help="Run a Forgather model's own code even if it was edited.",
)
@converter_options
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@verbosity_options("WARNING")
def verify_command(
    a: Path,
    b: Path,
    no_logit_check: bool,
    as_json: bool,
    verbosity: Verbosity,
    **options: Any,
) -> int:
    """Checks whether A and B hold the same model.

    Each is a Hugging Face or Forgather model directory, or a checkpoint in one. Compares configs
    (by meaning), weights (via the converter's name mapping), tokenizers (token ids) and logits.
    Exits with 0 if the models are equal, with 1 if they are not.
    """
    state = click.get_current_context().ensure_object(CommandState)
    messages = set_up_logging(verbosity.level, warnings=state.warnings)
    a, b = resolve_source(a), resolve_source(b)
    stay_offline()
    with phase_display(messages, verbosity.shows_progress) as progress:
        from forgather_convert.compare.verify import VerifyOptions, verify

        verification = verify(
            a, b, VerifyOptions(logit_check=not no_logit_check, **options), progress
        )
    if as_json:
        echo_json(verification_object(verification))
    else:
        print_labelled(_rows(verification))
        first = verification.first_difference
        if first is not None:
            print_line(first.describe("B"))
        print_line(_conclusion(verification), GOOD if verification.are_equal else BAD)
    return 0 if verification.are_equal else _DIFFERENT


def verification_object(verification: "Verification") -> dict[str, Any]:
    """The result as JSON."""
    tensors, tokenizer, logits = verification.tensors, verification.tokenizer, verification.logits
    first = verification.first_difference
    return {
        "equal": verification.are_equal,
        "a": _model_object(verification.a),
        "b": _model_object(verification.b),
        "config": [
            {"field": field.name, "a": field.a, "b": field.b} for field in verification.config
        ],
        "initialization": [
            {"field": field.name, "a": field.a, "b": field.b}
            for field in verification.initialization
        ],
        "tensors": None
        if tensors is None
        else {
            "equal": tensors.are_equal,
            "identical": tensors.num_identical,
            "others": [_tensor_object(other) for other in tensors.others],
        },
        "tokenizer": None
        if tokenizer is None
        else {
            "equal": tokenizer.problem is None,
            "tokens": tokenizer.num_tokens,
            "problem": tokenizer.problem,
        },
        "logits": None
        if logits is None
        else {
            "equal": logits.are_equal,
            "max_difference": _number(logits.max_difference),
            "positions": logits.num_tokens,
            "past": [str(limit) for limit in logits.covered],
            "not_past": [str(limit) for limit in logits.not_covered],
        },
        "logits_not_compared": verification.not_compared,
        "first_difference": None
        if first is None
        else {
            "layer": first.layer,
            "a": first.source,
            "b": first.result,
            "input_is_equal": first.input_is_equal,
            "first_output": first.first_output and dict(zip("ab", first.first_output, strict=True)),
            "max_difference": _number(first.largest),
            "last_equal": first.last_equal,
        },
    }


def _model_object(model: "VerifiedModel") -> dict[str, Any]:
    return {
        "path": str(model.path),
        "format": _format(model),
        "model_type": model.model_type,
        "dtype": model.dtype,
        "weights": str(model.weights),
        "converter": model.converter,
    }


def _tensor_object(tensor: "TensorDifference") -> dict[str, Any]:
    sides = {
        side: None if form is None else {"dtype": form[0], "shape": list(form[1])}
        for side, form in (("a", tensor.a), ("b", tensor.b))
    }
    return {
        "name": tensor.name,
        "status": tensor.status.value,
        **sides,
        "max_difference": _number(tensor.largest),
    }


def _number(value: float | None) -> float | None:
    """A number for JSON, which has no infinity."""
    return value if value is not None and math.isfinite(value) else None


def _format(model: "VerifiedModel") -> str:
    return "Forgather" if model.is_forgather else "Hugging Face"


def _rows(verification: "Verification") -> Iterator[Labelled]:
    for label, model in (("A", verification.a), ("B", verification.b)):
        text = f"{model.path} ({_format(model)}, {model.model_type}, {model.dtype})"
        yield Labelled(label, text)
        if model.weights != model.path:
            yield Labelled("", f"weights from {model.weights}")
    count = len(verification.config)
    text = _count(count, "field differs", "fields differ") if count else "equal"
    yield Labelled("Config", text, BAD if count else GOOD)
    for field in verification.config:
        yield Labelled("", f"{field.name}: {field.a} in A, {field.b} in B")
    for field in verification.initialization:
        text = f"{field.name}: {field.a} in A, {field.b} in B"
        yield Labelled("", f"{text} (affects new weights only; does not count as a difference)")
    if verification.tensors is not None:
        yield from _tensor_rows(verification.tensors)
        tokenizer = verification.tokenizer
        style = "" if tokenizer is None else GOOD if tokenizer.problem is None else BAD
        yield Labelled("Tokenizer", _tokenizer_text(verification), style)
    logits = verification.logits
    style = "" if logits is None else GOOD if logits.are_equal else BAD
    yield Labelled("Logits", _logits_text(verification), style)


def _tensor_rows(tensors: "TensorComparison") -> Iterator[Labelled]:
    total = tensors.num_identical + len(tensors.others)
    text = f"{tensors.num_identical:,} of {_count(total, 'tensor')} identical"
    yield Labelled("Weights", text, GOOD if tensors.are_equal else BAD)
    by_status: dict[str, list[TensorDifference]] = {}
    for other in tensors.others:
        by_status.setdefault(other.status.value, []).append(other)
    wording = {"missing": "only in A", "extra": "only in B"}
    for status, others in by_status.items():
        largest = max((other.largest or 0.0 for other in others), default=0.0)
        verb = "rounded" if status == "equal after cast" else "differing"
        by = f" ({verb} by up to {largest:g})" if largest else ""
        names = enumerate_names(other.name for other in others)
        yield Labelled("", f"{len(others)} {wording.get(status, status)}{by}: {names}")


def _tokenizer_text(verification: "Verification") -> str:
    tokenizer = verification.tokenizer
    if tokenizer is None:
        return "neither model has one"
    if tokenizer.problem is not None:
        return f"different: {tokenizer.problem}"
    return f"equal ({tokenizer.num_tokens:,} tokens)"


def _logits_text(verification: "Verification") -> str:
    from forgather_convert.logit_check.logits import describe_limits

    logits = verification.logits
    if logits is None:
        return f"not compared: {verification.not_compared}"
    limits = describe_limits(logits)
    if logits.are_equal:
        return f"identical over {_count(logits.num_tokens, 'position')}{limits}"
    return (
        f"different, by up to {logits.max_difference:g} over "
        f"{_count(logits.num_tokens, 'position')}{limits}"
    )


def _conclusion(verification: "Verification") -> str:
    if not verification.are_equal:
        return "A and B are different."
    assert verification.tensors is not None
    parts = ["A and B are equal"]
    if verification.tensors.num_cast:
        parts.append(f"after casting {_count(verification.tensors.num_cast, 'tensor')}")
    if not verification.logits_are_wanted:
        parts.append("logits not compared")
    return ", ".join(parts) + "."


def _count(number: int, one: str, several: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"
