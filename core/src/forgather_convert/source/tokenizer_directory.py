"""Reads a directory's tokenizer: its files, and the tokenizer itself."""

from pathlib import Path
from typing import Any

from forgather_convert.files.json_file import read_json_object

TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
SPECIAL_TOKENS_FILE = "special_tokens_map.json"
TEMPLATE_FILE = "chat_template.jinja"
#: The maximum size of a chat template, in bytes. The longest today have some 30 kB.
MAX_TEMPLATE_SIZE = 8 << 20
_FILES = ("tokenizer.json", "tokenizer.model", TOKENIZER_CONFIG_FILE, "vocab.json")
#: All files that may belong to a tokenizer.
TOKENIZER_FILES = (
    *_FILES,
    SPECIAL_TOKENS_FILE,
    TEMPLATE_FILE,
    "added_tokens.json",
    "merges.txt",
)


def has_tokenizer(directory: Path) -> bool:
    """Whether there is a tokenizer."""
    return any((directory / name).is_file() for name in _FILES)


def lacks_tokenizer_class(directory: Path) -> bool:
    """Whether there is a tokenizer whose files do not name its class."""
    path = directory / TOKENIZER_CONFIG_FILE
    is_named = path.is_file() and read_json_object(path).get("tokenizer_class")
    return has_tokenizer(directory) and not is_named


def names_padding_token(directory: Path) -> bool:
    """Whether the files name a padding token; loading the tokenizer would take seconds."""
    for name in (TOKENIZER_CONFIG_FILE, SPECIAL_TOKENS_FILE):
        path = directory / name
        if path.is_file() and read_json_object(path).get("pad_token"):
            return True
    return False


def load_tokenizer(directory: Path, hf_config: Any) -> Any:
    """Loads a tokenizer without running code from its directory, and tries it out.

    Args:
        directory: The directory of the tokenizer.
        hf_config: The model's Hugging Face config, which names the class if the tokenizer's files
            do not.

    Raises:
        Exception: Tokenizer classes raise exceptions of many types.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            directory, config=hf_config, trust_remote_code=False, local_files_only=True
        )
        # With some values in its files, it loads but fails on any text.
        tokenizer("a")
    except BaseException as error:
        # A panic in a Rust library is not an Exception.
        if type(error).__name__ == "PanicException":
            raise RuntimeError(str(error)) from error
        raise
    return tokenizer
