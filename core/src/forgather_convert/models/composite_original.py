"""What a composite's original has besides its text model, taken from a directory given for that.

Training may save the weights in another directory, without the parts that the conversion only
copied. They can be taken from the original, or from a Forgather model that has them.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from forgather_convert.errors import OptionError
from forgather_convert.files.json_file import read_text
from forgather_convert.models.carried_tensors import (
    CARRIED_TOKENIZER_CONFIG,
    CarriedTensors,
    read_carried,
)
from forgather_convert.models.original_weights import describe_weights, without_kept
from forgather_convert.models.provenance import Provenance, read_provenance
from forgather_convert.models.side_file_rules import processor_files
from forgather_convert.source.config_file import CONFIG_FILE
from forgather_convert.source.detection import Detection
from forgather_convert.source.tokenizer_directory import (
    TOKENIZER_CONFIG_FILE,
    TOKENIZER_FILES,
    has_tokenizer,
)
from forgather_convert.tensors.expressions import stored
from forgather_convert.tensors.names import RECOMPUTED
from forgather_convert.weights.file_names import is_weights_name


@dataclass(frozen=True)
class CompositeOriginal:
    """The parts of an original that are not its text model's weights.

    Attributes:
        directory: The directory that they come from.
        provenance: What a conversion records of the original; ``None`` if it is not known.
        carried: Its tensors that are not the text model's.
        files: Its files besides config and weights, by their names in the original.
    """

    directory: Path
    provenance: Provenance | None
    carried: CarriedTensors
    files: Mapping[str, Path]

    def files_besides(self, directory: Path) -> Mapping[str, Path]:
        """Its files that complete those of a Forgather model."""
        has_own = has_tokenizer(directory)
        return {
            name: path
            for name, path in self.files.items()
            if not (directory / name).exists() and not (has_own and name in TOKENIZER_FILES)
        }


def read_original(
    detection: Detection, model_type: str, in_loaded_form: bool = False
) -> CompositeOriginal:
    """Reads the parts from a directory of either kind.

    Args:
        detection: What it holds.
        model_type: The type that it must have.
        in_loaded_form: Whether it is a Hugging Face model with its weights as they are in memory.

    Raises:
        OptionError: It is a model of another type.
        SourceError: A file is missing or damaged.
    """
    directory = detection.metadata_directory
    if detection.model_type != model_type:
        raise OptionError(
            f"--base {directory} is a model of the type '{detection.model_type}', not "
            f"'{model_type}'. Give the original of the model that is converted."
        )
    if detection.is_forgather:
        provenance = read_provenance(directory)
        names = () if provenance is None else provenance.carried_tensors
        carried = read_carried(directory, names)
        copied = () if provenance is None else provenance.carried
        return CompositeOriginal(directory, provenance, carried, _files(directory, copied))
    assert detection.composite is not None
    others = {name: stored(ref) for name, ref in detection.composite.others.items()}
    weights = describe_weights(detection.checkpoint, others)
    text = detection.composite.text
    provenance = Provenance(
        tool={},
        options={},
        hf_config=read_text(directory / CONFIG_FILE),
        dtypes=sorted({text[name].dtype for name in text if not re.search(RECOMPUTED, name)}),
        weights=weights,
        generated={},
        carried=[],
        text_prefix=detection.composite.names.prefix,
        in_loaded_form=in_loaded_form,
    )
    carried = CarriedTensors(without_kept(others, weights), detection.checkpoint.files.states)
    weights_files = detection.checkpoint.files.paths
    names = [path.name for path in directory.iterdir() if path not in weights_files]
    files = dict(_files(directory, names))
    if TOKENIZER_CONFIG_FILE in files:
        # It has the class of the processor, which a Forgather model's file lacks.
        files[CARRIED_TOKENIZER_CONFIG] = files[TOKENIZER_CONFIG_FILE]
    return CompositeOriginal(directory, provenance, carried, files)


def _files(directory: Path, names: Iterable[str]) -> Mapping[str, Path]:
    renamed = {own: name for name, own in processor_files().items()}
    return {
        renamed.get(name, name): directory / name
        for name in names
        if (directory / name).is_file() and name != CONFIG_FILE and not is_weights_name(name)
    }
