"""Plans and results as text and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from forgather_convert.api import ConversionResult
from forgather_convert.cli.quantities import describe_seconds, describe_size
from forgather_convert.cli.tables import print_message_table
from forgather_convert.discovery.installed import core_version
from forgather_convert.planning.plan import ConversionPlan, TensorPlan
from forgather_convert.source.plain_text import one_line
from forgather_convert.tensors.expressions import describe
from forgather_convert.validation.generation import Generation
from forgather_convert.vocabulary.change import VocabularyChange
from forgather_convert.weights.tensor_ref import format_shape

if TYPE_CHECKING:
    from rich.console import Console

    from forgather_convert.validation.logits import LogitComparison


def plan_as_text(plan: ConversionPlan) -> str:
    """Every file and every tensor, a line each."""
    lines = [
        f"{plan.source} -> {plan.destination}",
        f"direction: {plan.direction.value}, model type: {plan.model_type}, dtype: {plan.dtype}, "
        f"{describe_size(plan.num_bytes)}",
        f"converter: {plan.converter}",
        f"weights: {plan.checkpoint}",
    ]
    if plan.vocabulary is not None:
        lines.append(f"vocabulary: {plan.vocabulary.size_before} -> {plan.vocabulary.size} rows")
        lines += [
            "  " + " ".join(f"{name}={value}" for name, value in row.items() if value is not None)
            for row in _vocabulary_rows(plan.vocabulary)
        ]
    for shard in plan.shards:
        lines.append(f"write {shard.file_name} ({describe_size(shard.num_bytes)})")
        lines += [f"  {_tensor_line(tensor)}" for tensor in shard.tensors]
    lines += [f"write {write.name} ({describe_size(len(write.content))})" for write in plan.writes]
    lines += [f"copy {copy.name} from {copy.source}" for copy in plan.copies]
    lines += [f"leave out {name}" for name in plan.left_out]
    lines.append("Nothing was written: this is a dry run.")
    return "\n".join(map(one_line, lines))


def plan_object(plan: ConversionPlan, warnings: Sequence[str]) -> dict[str, Any]:
    """The plan, for other programs."""
    return {
        **_summary(plan),
        "warnings": list(warnings),
        "shards": [
            {
                "file": shard.file_name,
                "bytes": shard.num_bytes,
                "tensors": [_tensor_object(tensor) for tensor in shard.tensors],
            }
            for shard in plan.shards
        ],
        "write": [write.name for write in plan.writes],
        "copy": [copy.name for copy in plan.copies],
        "left_out": list(plan.left_out),
    }


def result_object(result: ConversionResult, warnings: Sequence[str]) -> dict[str, Any]:
    """The result of a conversion, for other programs."""
    generation = result.generation
    return {
        **_summary(result.plan),
        "files": sorted(result.plan.file_names),
        "hashes": None if result.hashes is None else dict(result.hashes),
        "left_out": list(result.plan.left_out),
        "seconds": {phase.value: round(value, 3) for phase, value in result.seconds.items()},
        "logits": None if result.logits is None else _logits_object(result.logits),
        "generation": None
        if generation is None
        else {
            "prompt": generation.prompt or None,
            "text": generation.text or None,
            "token_ids": list(generation.token_ids),
        },
        "warnings": list(warnings),
    }


def _logits_object(logits: "LogitComparison") -> dict[str, Any]:
    return {
        "equal": logits.are_equal,
        "max_difference": logits.max_difference,
        "positions": logits.num_tokens,
        "past": [str(limit) for limit in logits.covered],
        "not_past": [str(limit) for limit in logits.not_covered],
        "cast": None if logits.cast is None else asdict(logits.cast),
    }


def closing_line(result: ConversionResult) -> str:
    """What was written, from what, by what, and what is known of it."""
    plan = result.plan
    return one_line(
        f"Wrote {len(plan.file_names)} files, {describe_size(plan.num_bytes)}, in "
        f"{describe_seconds(sum(result.seconds.values()))}, with {plan.converter}, from the "
        f"weights in {plan.checkpoint}. {_proof(result)}"
    )


def _proof(result: ConversionResult) -> str:
    logits, vocabulary = result.logits, result.plan.vocabulary
    if logits is None:
        return "Nothing was proven: the logits were not compared."
    whose = "the source's"
    if logits.cast is not None:
        whose += f", its weights cast to {logits.cast.dtype}"
    tokens = ""
    if vocabulary is not None and len(vocabulary.untouched_rows) != vocabulary.size:
        tokens = f" and {len(vocabulary.untouched_rows)} tokens"
    where = f"over {logits.num_tokens} positions{tokens}"
    return f"Proven: its logits are {whose}, bit for bit, {where}."


def print_vocabulary(change: VocabularyChange, console: "Console | None") -> None:
    """What was added, reused or moved, a row for each token, among the messages."""
    print_message_table(
        ("token", "id", "role", "action", "init", "instead of"),
        (
            [one_line("" if value is None else str(value)) for value in row.values()]
            for row in _vocabulary_rows(change)
        ),
        f"Vocabulary: {change.size_before} -> {change.size} rows",
        console,
    )


def _vocabulary_rows(change: VocabularyChange) -> list[dict[str, Any]]:
    return [
        {
            "token": token.token,
            "id": token.token_id,
            "role": token.role.value,
            "action": token.action.value,
            "init": token.init,
            "replaced": token.replaced or None,
        }
        for token in change.tokens
    ]


def generation_as_text(generation: Generation) -> str:
    """The prompt with its continuation, or the token ids without a tokenizer."""
    if generation.text or generation.prompt:
        return f"Generation test: {generation.prompt}{generation.text}"
    return f"Generation test (no tokenizer): {' '.join(map(str, generation.token_ids))}"


def _summary(plan: ConversionPlan) -> dict[str, Any]:
    return {
        "version": core_version(),
        "error": None,
        "source": str(plan.source),
        "destination": str(plan.destination),
        "direction": plan.direction.value,
        "model_type": plan.model_type,
        "dtype": plan.dtype,
        "converter": plan.converter,
        "checkpoint": str(plan.checkpoint),
        "bytes": plan.num_bytes,
        "num_tensors": len(plan.tensors),
        "vocabulary": None
        if plan.vocabulary is None
        else {
            "size_before": plan.vocabulary.size_before,
            "size": plan.vocabulary.size,
            "tokens": _vocabulary_rows(plan.vocabulary),
        },
    }


def _tensor_line(tensor: TensorPlan) -> str:
    sources = ", ".join(f"{ref.name} ({ref.file.name})" for ref in tensor.sources)
    return (
        f"{tensor.name} {tensor.dtype} {format_shape(tensor.shape)} "
        f"{_operation(tensor)} <- {sources or 'the original, kept in the source'}"
    )


def _tensor_object(tensor: TensorPlan) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "dtype": tensor.dtype,
        "shape": list(tensor.shape),
        "operation": _operation(tensor),
        "inputs": [
            {"name": ref.name, "file": ref.file.name, "offset": ref.offset, "bytes": ref.num_bytes}
            for ref in tensor.sources
        ],
    }


def _operation(tensor: TensorPlan) -> str:
    return describe(tensor.expression) or "move"
