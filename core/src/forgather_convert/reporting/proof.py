"""What a conversion has proven."""

from forgather_convert.api import ConversionResult


def describe_proof(result: ConversionResult) -> str:
    """What is known of the result, in one sentence."""
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
