"""Refuses to choose between differing sets of weights in one directory.

Training a model, linking or copying a checkpoint into its directory, or converting it to another
format by hand may leave two sets of weights there. A loader takes the one whose name it tries
first, which may be outdated.
"""

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from forgather_convert.errors import SourceError
from forgather_convert.source.legacy import normalize_tensors
from forgather_convert.tensors.evaluation import have_equal_bits
from forgather_convert.tensors.expressions import stored
from forgather_convert.tensors.names import RECOMPUTED, NamePatterns
from forgather_convert.tensors.tensor_ref import TensorRef, format_shape
from forgather_convert.tensors.weight_mapping import WeightMapping
from forgather_convert.weights.checkpoint import Checkpoint
from forgather_convert.weights.other_sets import first_file, other_sets

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Set:
    """A set of weights: its first file, and its tensors by their current names."""

    path: Path
    tensors: Mapping[str, TensorRef]

    @classmethod
    def of(cls, checkpoint: Checkpoint, has_place: Callable[[str], bool]) -> "_Set":
        tensors = {
            name: ref
            for name, ref in normalize_tensors(checkpoint.tensors).items()
            if has_place(name) and not re.search(RECOMPUTED, name)
        }
        return cls(first_file(checkpoint.files), tensors)

    @property
    def modified(self) -> float:
        files = {self.path, *(ref.file for ref in self.tensors.values())}
        return max(file.stat().st_mtime for file in files)


def refuse_other_weights(
    checkpoint: Checkpoint, is_forgather: bool, mapping: WeightMapping | None
) -> None:
    """Refuses weights if the same directory has others that differ.

    Names, shapes and types are compared first, then all values, piece by piece. Second names of
    tied tensors are ignored, and so are tensors that the family's mapping does not cover, since
    older files contain masks and tables.

    Args:
        checkpoint: The chosen weights.
        is_forgather: Whether they belong to a Forgather model, which may have been trained: then
            others that cannot be read are refused, too.
        mapping: The family's mapping to Forgather; ``None`` to compare all tensors.

    Raises:
        SourceError: There are others, and they differ.
    """
    for one, other in _opened(checkpoint, is_forgather, mapping):
        difference = _difference_of_headers(one, other)
        if difference is None:
            logger.info("Comparing %s with %s", one.path, other.path.name)
            difference = _difference_of_values(one, other)
        if difference is not None:
            raise _differing(one, other, difference)
        logger.info("%s has the same weights as %s", other.path, one.path.name)


def compare_other_headers(
    checkpoint: Checkpoint, is_forgather: bool, mapping: WeightMapping | None
) -> tuple[str, ...]:
    """Does the same with headers only; returns a remark about values that were not compared.

    Raises:
        SourceError: There are others, and they differ.
    """
    remarks = []
    for one, other in _opened(checkpoint, is_forgather, mapping):
        difference = _difference_of_headers(one, other)
        if difference is not None:
            raise _differing(one, other, difference)
        remarks.append(
            f"{one.path.name} and {other.path.name} have tensors of the same names, shapes and "
            "types. Their values were not compared; a conversion compares them and stops if they "
            "differ."
        )
    return tuple(remarks)


def _opened(
    checkpoint: Checkpoint, is_forgather: bool, mapping: WeightMapping | None
) -> Iterator[tuple[_Set, _Set]]:
    others = other_sets(checkpoint.files)
    if not others:
        return
    has_place = _places(mapping, is_forgather)
    chosen = _Set.of(checkpoint, has_place)
    for other in others:
        try:
            yield chosen, _Set.of(other.open(), has_place)
        except (SourceError, OSError) as error:
            if is_forgather:
                raise SourceError(
                    f"{checkpoint.files.directory} has weights in {chosen.path.name} and in "
                    f"{other.path.name}, and the latter cannot be read to compare them: {error} "
                    "Remove the outdated ones, or move them to another directory."
                ) from error
            logger.warning(
                "%s also has weights in %s, which cannot be read to compare them: %s %s is "
                "converted, since transformers loads it",
                checkpoint.files.directory,
                other.path.name,
                error,
                chosen.path.name,
            )


def _places(mapping: WeightMapping | None, is_forgather: bool) -> Callable[[str], bool]:
    """Whether a family's mapping covers a tensor name, with or without the base's prefix."""
    if mapping is None:
        return lambda _: True
    rules = (mapping.inverted() if is_forgather else mapping).rules
    sources = {source for rule in rules for source in rule.sources}
    known = NamePatterns(
        (pattern, None)
        for source in sorted(sources)
        for pattern in (source, source.partition(".")[2])
    )
    return lambda name: name in known or name.partition(".")[2] in known


def _difference_of_headers(one: _Set, other: _Set) -> str | None:
    for name in sorted(one.tensors.keys() & other.tensors.keys()):
        forms = [_form(each.tensors[name]) for each in (one, other)]
        if forms[0] != forms[1]:
            return f"'{name}' is {forms[0]} in the former and {forms[1]} in the latter"
    for each, peer, which in ((one, other, "former"), (other, one, "latter")):
        common = {_form(each.tensors[name]) for name in each.tensors.keys() & peer.tensors.keys()}
        for name in sorted(each.tensors.keys() - peer.tensors.keys()):
            # It may be a second name of another one, which only its values can tell.
            if _form(each.tensors[name]) not in common:
                return f"only the {which} has '{name}'"
    return None


def _difference_of_values(one: _Set, other: _Set) -> str | None:
    names = one.tensors.keys() & other.tensors.keys()
    for each, which in ((one, "former"), (other, "latter")):
        for name in sorted(each.tensors.keys() - names):
            if not any(_are_equal(each.tensors[name], each.tensors[known]) for known in names):
                return f"only the {which} has '{name}'"
    for name in sorted(names):
        if not _are_equal(one.tensors[name], other.tensors[name]):
            return f"the values of '{name}' differ"
    return None


def _are_equal(one: TensorRef, other: TensorRef) -> bool:
    return have_equal_bits(stored(one), stored(other))


def _form(ref: TensorRef) -> str:
    return f"{ref.dtype} {format_shape(ref.shape)}"


def _differing(one: _Set, other: _Set, difference: str) -> SourceError:
    newer, older = sorted((one, other), key=lambda each: each.modified, reverse=True)
    times = [
        f"{datetime.fromtimestamp(each.modified):%Y-%m-%d %H:%M:%S}" for each in (newer, older)
    ]
    return SourceError(
        f"{one.path.parent} has weights in {one.path.name} and in {other.path.name}, and they "
        f"differ: {difference}. Remove the outdated ones, or move them to another "
        f"directory. {newer.path.name} is the newer one (of {times[0]}, and {older.path.name} of "
        f"{times[1]})."
    )
