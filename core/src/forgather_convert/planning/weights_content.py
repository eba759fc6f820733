"""What the weights files of a target hold, apart from how it is divided among them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from forgather_convert.models.loaded_form import LoadedForm
from forgather_convert.models.original_weights import OriginalWeights
from forgather_convert.planning.plan import TensorPlan
from forgather_convert.tensors.byte_ranges import put_together
from forgather_convert.tensors.expressions import Expression
from forgather_convert.tensors.text_names import TextNames


@dataclass(frozen=True)
class WeightsContent:
    """The tensors of a target, and all else that decides on its weights files.

    Attributes:
        is_forgather: Whether it is a Forgather model. Loaders that know no tied weights read its
            files, too: the framework wants every name of the model's ``state_dict()`` in an index
            and in the files that the index lists, and always an index for ``.bin`` files. What it
            does not use is in files of their own.
        tensors: The model's tensors, by their names.
        unused: Tensors that come along though the model does not use them.
        tied: Second names of the model's tensors, each with the first.
        original: The division into files that the tensors once had, to be given back.
        other_names: The model's names for tensors that ``original`` calls otherwise.
    """

    is_forgather: bool
    tensors: Mapping[str, Expression]
    unused: Mapping[str, Expression] = field(default_factory=dict)
    tied: Mapping[str, str] = field(default_factory=dict)
    original: OriginalWeights | None = None
    other_names: Mapping[str, str] = field(default_factory=dict)

    def in_loaded_form(self, form: LoadedForm) -> "WeightsContent":
        """The same with the model's tensors as they are in memory."""
        names = {
            name: form.loaded_name(name) or name for names in self.tied.items() for name in names
        }
        return replace(
            self,
            tensors={
                name: put_together(value) for name, value in form.as_loaded(self.tensors).items()
            },
            tied={names[second]: names[first] for second, first in self.tied.items()},
        )

    def in_composite(self, names: TextNames) -> "WeightsContent":
        """The same with the text model's tensors by their names in a composite."""
        return replace(
            self,
            tensors={names.in_composite(name): value for name, value in self.tensors.items()},
            tied={
                names.in_composite(second): names.in_composite(first)
                for second, first in self.tied.items()
            },
        )


def tensor_plans(tensors: Mapping[str, Expression]) -> tuple[TensorPlan, ...]:
    """A plan for each of some tensors, in their order."""
    return tuple(TensorPlan(name, value) for name, value in tensors.items())
