"""How long a text may be for the tokenizer, beside how long it may be for the model."""

import logging
from pathlib import Path

from forgather_convert.files.json_file import read_json_object
from forgather_convert.source.tokenizer_directory import TOKENIZER_CONFIG_FILE

logger = logging.getLogger(__name__)

#: What transformers writes where a tokenizer has no limit is larger.
_NO_LIMIT = 2**31


def report_tokenizer_length(directory: Path, max_length: int) -> None:
    """Says that the tokenizer keeps its own limit, where the model gets another one.

    Args:
        directory: Where the tokenizer is.
        max_length: The model's new limit.

    Raises:
        SourceError: The tokenizer's config cannot be read.
    """
    path = directory / TOKENIZER_CONFIG_FILE
    stated = read_json_object(path).get("model_max_length") if path.is_file() else None
    if isinstance(stated, int | float) and stated < _NO_LIMIT and stated != max_length:
        logger.warning(
            "--max-length sets the maximum length of the model; the tokenizer keeps its "
            "'model_max_length', %d. To change that too, edit %s of the result",
            stated,
            TOKENIZER_CONFIG_FILE,
        )
