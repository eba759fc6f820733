"""Plans and results of conversions as text."""

from typing import TYPE_CHECKING

from forgather_convert.api import ConversionResult
from forgather_convert.cli.tables import print_message_table
from forgather_convert.files.plain_text import one_line
from forgather_convert.logit_check.generation import Generation
from forgather_convert.planning.plan import ConversionPlan, TensorPlan
from forgather_convert.quantities import counted, describe_seconds, describe_size
from forgather_convert.reporting.certificate import describe_certificate
from forgather_convert.reporting.objects import operation_of, vocabulary_rows
from forgather_convert.tensors.tensor_ref import format_shape
from forgather_convert.vocabulary.change import VocabularyChange

if TYPE_CHECKING:
    from rich.console import Console


def plan_as_text(plan: ConversionPlan) -> str:
    """Every file and every tensor of a plan, one line each."""
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
            for row in vocabulary_rows(plan.vocabulary)
        ]
    for shard in plan.shards:
        lines.append(f"write {shard.file_name} ({describe_size(shard.num_bytes)})")
        lines += [f"  {_tensor_line(tensor)}" for tensor in shard.tensors]
    lines += [f"write {write.name} ({describe_size(len(write.content))})" for write in plan.writes]
    lines += [f"copy {copy.name} from {copy.source}" for copy in plan.copies]
    lines += [f"link {link.name} to {link.source}" for link in plan.links]
    lines += [f"leave out {name}" for name in plan.left_out]
    lines.append("Nothing was written: this is a dry run.")
    return "\n".join(map(one_line, lines))


def closing_line(result: ConversionResult) -> str:
    """What was written, from which weights, with which converter, and the certificate."""
    plan = result.plan
    return one_line(
        f"Wrote {counted(len(plan.file_names), 'file')}, {describe_size(plan.num_bytes)}, in "
        f"{describe_seconds(result.elapsed_seconds)}, with {plan.converter}, from the "
        f"weights in {plan.checkpoint}. {describe_certificate(result)}"
    )


def print_vocabulary(change: VocabularyChange, console: "Console | None") -> None:
    """Prints the changes of the vocabulary, a row for each token, among the messages."""
    print_message_table(
        ("token", "id", "role", "action", "init", "replaces"),
        (
            [one_line("" if value is None else str(value)) for value in row.values()]
            for row in vocabulary_rows(change)
        ),
        f"Vocabulary: {change.size_before} -> {change.size} rows",
        console,
    )


def generation_as_text(generation: Generation) -> str:
    """The prompt and its continuation, or token ids if there is no tokenizer."""
    if generation.text:
        return f"Generation test: {generation.text}"
    ids = " ".join(map(str, generation.result.token_ids))
    return f"Generation test (no tokenizer): {ids}"


def _tensor_line(tensor: TensorPlan) -> str:
    sources = ", ".join(f"{ref.name} ({ref.file.name})" for ref in tensor.sources)
    return (
        f"{tensor.name} {tensor.dtype} {format_shape(tensor.shape)} "
        f"{operation_of(tensor)} <- {sources or 'the original value, stored in the source'}"
    )
