"""The results of a verification, as values."""

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from forgather_convert.logit_check.first_difference import FirstDifference
from forgather_convert.logit_check.logits import LogitComparison


@dataclass(frozen=True)
class VerifiedModel:
    """One of the two models.

    Attributes:
        path: The directory, as it was given.
        is_forgather: Whether it is a Forgather model, and not a Hugging Face one.
        model_type: Its family.
        dtype: The data type that its config states, or the default.
        weights: The directory of its weights.
        converter: The origin of its family's converter.
    """

    path: Path
    is_forgather: bool
    model_type: str
    dtype: str
    weights: Path
    converter: str


#: Fields that are used only to initialize new weights.
_INITIALIZATION = re.compile(r"(?:^|_)init(?:ializer)?(?:_|$)")


@dataclass(frozen=True)
class FieldDifference:
    """A config field with different meanings, by its Hugging Face name."""

    name: str
    a: Any
    b: Any

    @property
    def is_of_initialization(self) -> bool:
        """Whether the field only matters for new weights, such as ``initializer_range``."""
        return _INITIALIZATION.search(self.name) is not None


class TensorStatus(Enum):
    """How a tensor of one model relates to that of the other."""

    IDENTICAL = "identical"
    EQUAL_AFTER_CAST = "equal after cast"
    DIFFERENT = "different"
    OTHER_SHAPE = "other shape"
    MISSING = "missing"
    EXTRA = "extra"


@dataclass(frozen=True)
class TensorDifference:
    """A tensor that is not identical in both models.

    Attributes:
        name: Its name in the second model; in the first, for one that the second lacks.
        status: How they relate. ``MISSING``: the second lacks it. ``EXTRA``: the first does.
        a: Dtype and shape in the first model; ``None`` if it lacks it.
        b: Dtype and shape in the second.
        largest: The largest absolute difference, infinite if only one element is finite; ``None``
            if the elements were not compared.
    """

    name: str
    status: TensorStatus
    a: tuple[str, tuple[int, ...]] | None
    b: tuple[str, tuple[int, ...]] | None
    largest: float | None = None


@dataclass(frozen=True)
class TensorComparison:
    """The comparison of all tensors of two models.

    Attributes:
        num_identical: How many have the same dtype, shape and bits.
        others: The others, in the order of the second model.
    """

    num_identical: int
    others: tuple[TensorDifference, ...]

    @property
    def are_equal(self) -> bool:
        """Whether all are identical, or equal after a cast."""
        return all(other.status is TensorStatus.EQUAL_AFTER_CAST for other in self.others)

    @property
    def num_cast(self) -> int:
        """How many are equal after a cast."""
        return sum(other.status is TensorStatus.EQUAL_AFTER_CAST for other in self.others)


@dataclass(frozen=True)
class TokenizerComparison:
    """The comparison of two tokenizers.

    Attributes:
        num_tokens: The number of tokens of the first one; ``None`` if it cannot be loaded.
        problem: How they differ; ``None`` if they do not.
    """

    num_tokens: int | None
    problem: str | None


@dataclass(frozen=True)
class Verification:
    """Whether two directories hold the same model.

    Attributes:
        a: The first model.
        b: The second.
        config: The config fields that differ in meaning.
        initialization: Differing fields that only matter for new weights; they do not make the
            models different.
        tensors: The weights; ``None`` if the families differ.
        tokenizer: The tokenizers; ``None`` if neither has one.
        logits: The comparison of the logits; ``None`` if they were not compared.
        not_compared: Why the logits were not compared; ``None`` if they were.
        logits_are_wanted: Whether the logits were to be compared.
    """

    a: VerifiedModel
    b: VerifiedModel
    config: tuple[FieldDifference, ...]
    tensors: TensorComparison | None
    tokenizer: TokenizerComparison | None
    logits: LogitComparison | None
    not_compared: str | None
    logits_are_wanted: bool = True
    initialization: tuple[FieldDifference, ...] = ()

    @property
    def are_equal(self) -> bool:
        """Whether everything requested was compared and is equal, possibly after a cast."""
        return (
            not self.config
            and self.tensors is not None
            and self.tensors.are_equal
            and (self.tokenizer is None or self.tokenizer.problem is None)
            and (not self.logits_are_wanted or (self.logits is not None and self.logits.are_equal))
        )

    @property
    def first_difference(self) -> FirstDifference | None:
        """Where the models first differ."""
        return None if self.logits is None else self.logits.first_difference
