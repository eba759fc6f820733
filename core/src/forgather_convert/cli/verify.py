"""``forgather verify``."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from forgather_convert.cli.console import echo_json, set_up_logging
from forgather_convert.cli.converter_options import CONVERTER_GROUP, converter_options
from forgather_convert.cli.help import GroupedCommand
from forgather_convert.cli.outcome import Outcome
from forgather_convert.cli.parameters import DirectoryParameter
from forgather_convert.cli.tables import print_labelled, print_line
from forgather_convert.cli.verbosity import VERBOSITY_OPTIONS, verbosity_options
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
        "What is compared": (
            "--device",
            "--prompt",
            "--no-logit-check",
            "--dequantize",
            "--trust-remote-code",
        ),
        CONVERTER_GROUP[0]: CONVERTER_GROUP[1],
        "Output": ("--json", *VERBOSITY_OPTIONS),
    },
    short_help="Tell whether two directories hold the same model.",
)
@click.argument("a", metavar="A", type=DirectoryParameter(path_type=Path))
@click.argument("b", metavar="B", type=DirectoryParameter(path_type=Path))
@click.option("--device", default="cpu", show_default=True, help="Where the logits are computed.")
@click.option("--prompt", default=DEFAULT_PROMPT, show_default=True, help="Text to compare on.")
@click.option("--no-logit-check", is_flag=True, help="Do not compare the logits.")
@click.option(
    "--dequantize", is_flag=True, help="Compare the numbers that FP8 or MXFP4 weights stand for."
)
@click.option(
    "--trust-remote-code",
    is_flag=True,
    help="Let a Forgather model's own code run where it was edited.",
)
@converter_options
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@verbosity_options("WARNING")
def verify_command(
    a: Path,
    b: Path,
    device: str,
    prompt: str,
    no_logit_check: bool,
    dequantize: bool,
    trust_remote_code: bool,
    converter_paths: tuple[Path, ...],
    converter: str | None,
    no_plugins: bool,
    as_json: bool,
    level: str,
) -> int:
    """Tells whether A and B hold the same model.

    Each is a Hugging Face or a Forgather directory, or a checkpoint in one. Configs are compared
    by what they mean, weights through the mapping of their names, then what the tokenizers read
    and what the models compute. Exits with 0 if all is equal, and with 1 if not.
    """
    outcome = click.get_current_context().ensure_object(Outcome)
    set_up_logging(level, warnings=outcome.warnings)
    a, b = resolve_source(a), resolve_source(b)
    stay_offline()
    from forgather_convert.compare.verify import VerifyOptions, verify

    options = VerifyOptions(
        device=device,
        prompt=prompt,
        logit_check=not no_logit_check,
        dequantize=dequantize,
        trust_remote_code=trust_remote_code,
        converter=converter,
        converter_paths=converter_paths,
        use_plugins=not no_plugins,
    )
    verification = verify(a, b, options)
    if as_json:
        echo_json(verification_object(verification))
    else:
        print_labelled(_rows(verification))
        first = verification.first_difference
        if first is not None:
            print_line(first.describe("B"))
        print_line(_conclusion(verification))
    return 0 if verification.are_equal else _DIFFERENT


def verification_object(verification: "Verification") -> dict[str, Any]:
    """The result, for other programs."""
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
    """A number as JSON has it: there is none that is infinite."""
    return value if value is not None and math.isfinite(value) else None


def _format(model: "VerifiedModel") -> str:
    return "Forgather" if model.is_forgather else "Hugging Face"


def _rows(verification: "Verification") -> Iterator[tuple[str, str]]:
    for label, model in (("A", verification.a), ("B", verification.b)):
        yield label, f"{model.path} ({_format(model)}, {model.model_type}, {model.dtype})"
        if model.weights != model.path:
            yield "", f"weights from {model.weights}"
    count = len(verification.config)
    yield "Config", f"{_count(count, 'field differs', 'fields differ')}" if count else "equal"
    for field in verification.config:
        yield "", f"{field.name}: {field.a} in A, {field.b} in B"
    for field in verification.initialization:
        text = f"{field.name}: {field.a} in A, {field.b} in B"
        yield "", f"{text} (only for new weights, not a difference of these)"
    if verification.tensors is not None:
        yield from _tensor_rows(verification.tensors)
        yield "Tokenizer", _tokenizer_text(verification)
    yield "Logits", _logits_text(verification)


def _tensor_rows(tensors: "TensorComparison") -> Iterator[tuple[str, str]]:
    total = tensors.num_identical + len(tensors.others)
    yield "Weights", f"{tensors.num_identical} of {_count(total, 'tensor')} identical"
    by_status: dict[str, list[TensorDifference]] = {}
    for other in tensors.others:
        by_status.setdefault(other.status.value, []).append(other)
    wording = {"missing": "only in A", "extra": "only in B"}
    for status, others in by_status.items():
        largest = [other.largest for other in others if other.largest is not None]
        by = f", by up to {max(largest):g}" if largest else ""
        names = enumerate_names(other.name for other in others)
        yield "", f"{len(others)} {wording.get(status, status)}{by}: {names}"


def _tokenizer_text(verification: "Verification") -> str:
    tokenizer = verification.tokenizer
    if tokenizer is None:
        return "neither has one"
    if tokenizer.problem is not None:
        return f"different: {tokenizer.problem}"
    return f"equal ({tokenizer.num_tokens} tokens)"


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
        parts.append(f"after a cast of {_count(verification.tensors.num_cast, 'tensor')}")
    if not verification.logits_are_wanted:
        parts.append("as far as they were compared")
    return ", ".join(parts) + "."


def _count(number: int, one: str, several: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"
