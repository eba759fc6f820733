"""Plans and results as text and as JSON."""

from typing import Any

from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from forgather_convert.api import ConversionResult
from forgather_convert.planning.plan import ConversionPlan, TensorPlan
from forgather_convert.source.plain_text import one_line
from forgather_convert.tensors.expressions import describe
from forgather_convert.validation.generation import Generation
from forgather_convert.vocabulary.change import VocabularyChange
from forgather_convert.weights.tensor_ref import format_shape


def plan_as_text(plan: ConversionPlan) -> str:
    """Every file and every tensor, a line each."""
    lines = [
        f"{plan.source} -> {plan.destination}",
        f"direction: {plan.direction.value}, model type: {plan.model_type}, dtype: {plan.dtype}, "
        f"{_size(plan.num_bytes)}",
    ]
    if plan.vocabulary is not None:
        lines.append(f"vocabulary: {plan.vocabulary.size_before} -> {plan.vocabulary.size} rows")
        lines += [
            "  " + " ".join(f"{name}={value}" for name, value in row.items() if value != "")
            for row in _vocabulary_rows(plan.vocabulary)
        ]
    for shard in plan.shards:
        lines.append(f"write {shard.file_name} ({_size(shard.num_bytes)})")
        lines += [f"  {_tensor_line(tensor)}" for tensor in shard.tensors]
    lines += [f"write {write.name} ({_size(len(write.content))})" for write in plan.writes]
    lines += [f"copy {copy.name} from {copy.source}" for copy in plan.copies]
    lines += [f"leave out {name}" for name in plan.left_out]
    lines.append("Nothing was written: this is a dry run.")
    return "\n".join(map(one_line, lines))


def plan_object(plan: ConversionPlan) -> dict[str, Any]:
    """The plan, for other programs."""
    return {
        **_summary(plan),
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


def result_object(result: ConversionResult) -> dict[str, Any]:
    """The result of a conversion, for other programs."""
    content = _summary(result.plan)
    content["files"] = sorted(
        [shard.file_name for shard in result.plan.shards]
        + [write.name for write in result.plan.writes]
        + [copy.name for copy in result.plan.copies]
    )
    content["left_out"] = list(result.plan.left_out)
    content["logits"] = None
    if result.logits is not None:
        content["logits"] = {
            "equal": result.logits.are_equal,
            "max_difference": result.logits.max_difference,
            "positions": result.logits.num_tokens,
            "past": [str(limit) for limit in result.logits.covered],
            "not_past": [str(limit) for limit in result.logits.not_covered],
        }
    content["generation"] = None
    if result.generation is not None:
        content["generation"] = {
            "prompt": result.generation.prompt,
            "text": result.generation.text,
            "token_ids": list(result.generation.token_ids),
        }
    return content


def vocabulary_table(change: VocabularyChange) -> Table:
    """What was added, reused or moved, a row for each token."""
    table = Table(
        title=f"Vocabulary: {change.size_before} -> {change.size} rows", title_justify="left"
    )
    for column in ("token", "id", "role", "action", "init", "instead of"):
        justify: JustifyMethod = "right" if column == "id" else "left"
        table.add_column(column, justify=justify, overflow="fold")
    for row in _vocabulary_rows(change):
        table.add_row(*(Text(one_line(str(value))) for value in row.values()))
    return table


def _vocabulary_rows(change: VocabularyChange) -> list[dict[str, Any]]:
    return [
        {
            "token": token.token,
            "id": token.token_id,
            "role": token.role.value,
            "action": token.action.value,
            "init": token.init,
            "replaced": token.replaced or "",
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
        "source": str(plan.source),
        "destination": str(plan.destination),
        "direction": plan.direction.value,
        "model_type": plan.model_type,
        "dtype": plan.dtype,
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


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"
