"""The certificate of a conversion: what was run and compared, and the result."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from forgather_convert.api import ConversionResult

if TYPE_CHECKING:
    from forgather_convert.logit_check.logits import LogitComparison


def is_verified(result: ConversionResult) -> bool:
    """Whether the logits of source and result were compared, each computed by its own code."""
    logits = result.logits
    return logits is not None and logits.is_own_code and logits.num_undefined < logits.num_logits


def describe_certificate(result: ConversionResult) -> str:
    """What was run and compared, in a few sentences; the first one is the conclusion."""
    return " ".join(_sentences(result))


def _sentences(result: ConversionResult) -> Iterator[str]:
    logits, configs = result.logits, result.configs
    if logits is None:
        yield (
            "Not verified: the logit check was skipped (--no-logit-check)."
            if configs is not None
            else "Not verified: the logits were not compared (PEFT is not installed, or "
            "--no-logit-check was given). Every tensor of the adapter was copied or reordered "
            "exactly."
        )
    elif logits.num_undefined == logits.num_logits:
        yield "Not verified: none of the source's logits is finite."
    elif not logits.is_own_code:
        yield (
            "Not verified against the source's own code, which differs from the standard "
            "code and did not run (--trust-remote-code runs it). With the standard code, "
            f"{_agreement(result)}."
        )
    elif logits.are_equal:
        yield f"Verified {_agreement(result)}."
    else:
        yield f"Verified within {logits.tolerance:g} {_agreement(result)}."
    if result.plan.links:
        yield "The weights are links to the source's files."
    elif not result.plan.shards:
        yield "No weights were written (--code-only)."
    if configs is not None:
        yield (
            f"Configs were not compared: {configs.not_compared}"
            if configs.not_compared
            else "Configs agree."
        )
    if logits is not None:
        yield from _remarks(logits)


def _agreement(result: ConversionResult) -> str:
    """``on 5 runs over 83 positions: logits bit-identical to the source's``."""
    logits, vocabulary = result.logits, result.plan.vocabulary
    assert logits is not None
    what = "logits"
    if vocabulary is not None and len(vocabulary.untouched_rows) != vocabulary.size:
        what += f" of {len(vocabulary.untouched_rows)} tokens"
    whose = "the source's"
    if logits.cast is not None:
        whose = f"those of the source cast to {logits.cast.dtype}"
    agreement = (
        f"bit-identical to {whose}"
        if logits.are_equal
        else f"within {logits.max_difference:g} of {whose}"
    )
    runs = f"{len(logits.runs)} run{'' if len(logits.runs) == 1 else 's'}"
    positions = f"{logits.num_tokens} position{'' if logits.num_tokens == 1 else 's'}"
    return f"on {runs} over {positions}: {what} {agreement}"


def _remarks(logits: "LogitComparison") -> Iterator[str]:
    if 0 < logits.num_undefined < logits.num_logits:
        yield (
            f"{logits.num_undefined} of {logits.num_logits} logits are NaN and were not compared."
        )
    if logits.not_covered:
        yield f"Not reached: {', '.join(map(str, logits.not_covered))}."
    yield from logits.notes
    for whose, code in zip(("The source", "The result"), logits.codes, strict=True):
        if "does not know" in code:
            yield f"{whose} was loaded as {code}."
