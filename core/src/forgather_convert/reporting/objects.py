"""Plans and results as JSON, for other programs."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from forgather_convert.api import ConversionResult
from forgather_convert.discovery.installed import core_version
from forgather_convert.planning.plan import ConversionPlan, TensorPlan
from forgather_convert.reporting.certificate import describe_certificate, is_verified
from forgather_convert.tensors.expressions import describe
from forgather_convert.vocabulary.change import VocabularyChange

if TYPE_CHECKING:
    from forgather_convert.compare.conversion_configs import ConfigComparison
    from forgather_convert.logit_check.generation import Continuation, Generation
    from forgather_convert.logit_check.logits import LogitComparison


def plan_object(plan: ConversionPlan, warnings: Sequence[str]) -> dict[str, Any]:
    """A plan as JSON."""
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
    """The result of a conversion as JSON."""
    return {
        **_summary(result.plan),
        "files": sorted(result.plan.file_names),
        "hashes": None if result.hashes is None else dict(result.hashes),
        "left_out": list(result.plan.left_out),
        "verified": is_verified(result),
        "certificate": describe_certificate(result),
        "configs": None if result.configs is None else _configs_object(result.configs),
        "seconds": {phase.value: round(value, 3) for phase, value in result.seconds.items()},
        "elapsed_seconds": round(result.elapsed_seconds, 3),
        "logits": None if result.logits is None else _logits_object(result.logits),
        "generation": None if result.generation is None else _generation(result.generation),
        "warnings": list(warnings),
    }


def _generation(generation: "Generation") -> dict[str, Any]:
    return {
        "prompt": generation.prompt or None,
        "chat": generation.is_chat,
        **_continuation(generation.result),
        "source": _continuation(generation.source),
    }


def _continuation(continuation: "Continuation") -> dict[str, Any]:
    return {
        "text": continuation.text or None,
        "token_ids": list(continuation.token_ids),
        "tokens_per_second": round(continuation.tokens_per_second, 3),
    }


def _logits_object(logits: "LogitComparison") -> dict[str, Any]:
    return {
        "equal": logits.are_equal,
        "max_difference": logits.max_difference,
        "positions": logits.num_tokens,
        "runs": list(logits.runs),
        "source_code": logits.codes[0],
        "result_code": logits.codes[1],
        "own_code": logits.is_own_code,
        "notes": list(logits.notes),
        "tolerance": logits.tolerance,
        "past": [str(limit) for limit in logits.covered],
        "not_past": [str(limit) for limit in logits.not_covered],
        "cast": None if logits.cast is None else asdict(logits.cast),
    }


def _configs_object(configs: "ConfigComparison") -> dict[str, Any]:
    return {
        # If they differ, there is no result.
        "equal": None if configs.not_compared else True,
        "fields": configs.num_fields,
        "limits": [str(limit) for limit in configs.limits],
        "not_compared": configs.not_compared or None,
    }


def vocabulary_rows(change: VocabularyChange) -> list[dict[str, Any]]:
    """The tokens added, reused or moved, one object each."""
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


def operation_of(tensor: TensorPlan) -> str:
    """How a tensor is made, in words."""
    return describe(tensor.expression) or "move"


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
            "tokens": vocabulary_rows(plan.vocabulary),
        },
    }


def _tensor_object(tensor: TensorPlan) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "dtype": tensor.dtype,
        "shape": list(tensor.shape),
        "operation": operation_of(tensor),
        "inputs": [
            {"name": ref.name, "file": ref.file.name, "offset": ref.offset, "bytes": ref.num_bytes}
            for ref in tensor.sources
        ],
    }
