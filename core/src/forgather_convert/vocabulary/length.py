"""The tokenizer's maximum length, which may differ from the model's."""

import logging
from pathlib import Path

from forgather_convert.files.json_file import read_json_object
from forgather_convert.source.tokenizer_directory import TOKENIZER_CONFIG_FILE

logger = logging.getLogger(__name__)

#: For a tokenizer without a limit, transformers writes a larger number.
_NO_LIMIT = 2**31


def report_tokenizer_length(directory: Path, max_length: int) -> None:
    """Warns that the tokenizer keeps its limit if the model gets a different one.

    Raises:
        SourceError: The tokenizer's config cannot be read.
    """
    path = directory / TOKENIZER_CONFIG_FILE
    stated = read_json_object(path).get("model_max_length") if path.is_file() else None
    if isinstance(stated, int | float) and stated < _NO_LIMIT and stated != max_length:
        logger.warning(
            "--max-length sets the maximum length of the model only; the tokenizer keeps its "
            "'model_max_length' of %d. To change it, too, edit the result's %s",
            stated,
            TOKENIZER_CONFIG_FILE,
        )
