"""Which files besides config and weights a conversion does not copy."""

import logging
from dataclasses import dataclass
from pathlib import Path

from forgather_convert.files.file_errors import with_filename
from forgather_convert.models.carried_tensors import is_carried_file
from forgather_convert.models.provenance import Provenance
from forgather_convert.source.files import sha256
from forgather_convert.source.forgather_signs import PROVENANCE_FILE
from forgather_convert.weights.linked_files import LINKS_FILE

logger = logging.getLogger(__name__)

#: Files without tensors that trainers save beside a model.
_TRAINING_FILES = ("trainer_state.json",)


_REPLACED = (PROVENANCE_FILE, LINKS_FILE)


@dataclass(frozen=True)
class SideFileRules:
    """The files besides config and weights that are not copied, by name.

    Attributes:
        generated: Files that the conversion makes; the source must not have these names.
        replaced: Files of the source that the destination has in another form.
        unused: Files of the source that the destination does not need.
    """

    generated: frozenset[str] = frozenset()
    replaced: frozenset[str] = frozenset()
    unused: frozenset[str] = frozenset()


def forgather_files(directory: Path, provenance: Provenance | None) -> SideFileRules:
    """Distinguishes a Forgather model's own files from those that its user added.

    Only Python files can be the model's code, whatever the provenance says. Edited code is left
    out, with a warning. Without a provenance, all Python files are considered the code.
    """
    # Not glob, which treats an unreadable directory as empty.
    names = {path.name for path in directory.iterdir() if path.is_file()}
    code = {name for name in names if name.endswith(".py")}
    tensors = {name for name in names if is_carried_file(name)}
    if provenance is None:
        unused = frozenset({*code, *_TRAINING_FILES})
        return SideFileRules(replaced=frozenset({*_REPLACED, *tensors}), unused=unused)
    generated = {
        name: _hash(directory / name) == digest
        for name, digest in provenance.generated.items()
        if name in code
    }
    edited = sorted(name for name, is_unchanged in generated.items() if not is_unchanged)
    if edited:
        logger.warning(
            "The model code was edited (%s); the Hugging Face model does not include the changes",
            ", ".join(edited),
        )
    unchanged = {name for name, is_unchanged in generated.items() if is_unchanged}
    training = {*_TRAINING_FILES} - {*provenance.carried}
    return SideFileRules(
        replaced=frozenset({*_REPLACED, *unchanged, *tensors}),
        unused=frozenset({*edited, *training}),
    )


def _hash(path: Path) -> str:
    with with_filename(path):
        return sha256(path.read_bytes())
