"""Compares two tokenizers: the ids of texts, and the vocabularies."""

from itertools import zip_longest

from forgather_convert.compare.models import ComparedModel
from forgather_convert.compare.result import TokenizerComparison
from forgather_convert.logit_check.prompts import try_load_tokenizer
from forgather_convert.quantities import counted
from forgather_convert.source.tokenizer_directory import has_tokenizer

#: Spaces, lines, digits, accents, other scripts and symbols.
_SAMPLE = " Two  spaces,\ttabs\nand lines: 3.14159 naïve façade — Привет, 世界! 🙂 \u00a0x=[1,2];"


def compare_tokenizers(
    a: ComparedModel, b: ComparedModel, prompt: str
) -> TokenizerComparison | None:
    """Compares the tokenizers of two models; ``None`` if neither has one."""
    present = [model for model in (a, b) if has_tokenizer(model.source.directory)]
    if not present:
        return None
    if len(present) == 1:
        return TokenizerComparison(None, f"only {present[0].detection.source} has one")
    loaded = [
        try_load_tokenizer(model.source.directory, model.source.config_object) for model in (a, b)
    ]
    broken = [
        model.source.directory
        for model, tokenizer in zip((a, b), loaded, strict=True)
        if tokenizer is None
    ]
    if broken:
        return TokenizerComparison(None, f"the one in {broken[0]} cannot be loaded")
    one, other = loaded
    vocabularies = one.get_vocab(), other.get_vocab()
    for text in (prompt, _SAMPLE):
        ids = one(text)["input_ids"], other(text)["input_ids"]
        for position, (left, right) in enumerate(zip_longest(*ids)):
            if left != right:
                problem = (
                    f"they split {text!r} differently: token {position} is {_id(left)} in A and "
                    f"{_id(right)} in B"
                )
                return TokenizerComparison(len(vocabularies[0]), problem)
    if vocabularies[0] != vocabularies[1]:
        differing = sorted(
            token
            for token in {*vocabularies[0], *vocabularies[1]}
            if vocabularies[0].get(token) != vocabularies[1].get(token)
        )
        token = differing[0]
        problem = (
            f"Different ids for {counted(len(differing), 'token')}: {token!r} is "
            f"{_id(vocabularies[0].get(token))} in A and {_id(vocabularies[1].get(token))} in B"
        )
        return TokenizerComparison(len(vocabularies[0]), problem)
    return TokenizerComparison(len(vocabularies[0]), None)


def _id(value: int | None) -> str:
    return "missing" if value is None else f"id {value}"
