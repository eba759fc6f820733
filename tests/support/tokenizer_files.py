"""Writes the files of a tiny tokenizer that every transformers loads."""

import json
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers

from support.variants import VOCAB_SIZE

#: Valid JSON, as no program would write it.
_TOKENIZER_CONFIG = (
    '{ "tokenizer_class":"PreTrainedTokenizerFast",\r\n'
    '\t"unk_token" : "<unk>", "bos_token":"<s>",%s\n\n'
    '  "eos_token": "</s>", "model_max_length": 1000000000000000019884624838656,\n'
    '  "added_by_hand": "na\\u00efve, ünïcode" }'
)


def write_tokenizer(directory: Path, pad_token: str | None = "<unk>") -> None:
    """Writes a tokenizer of words, and the files that usually lie beside one."""
    config = _TOKENIZER_CONFIG % (f' "pad_token":"{pad_token}",' if pad_token else "")
    words = ["<unk>", "<s>", "</s>", *(f"w{number}" for number in range(VOCAB_SIZE - 3))]
    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    (directory / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    (directory / "tokenizer_config.json").write_bytes(config.encode("utf-8"))
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (directory / "special_tokens_map.json").write_text(json.dumps(special), encoding="utf-8")
    (directory / "added_tokens.json").write_bytes(b"{}")
    (directory / "chat_template.jinja").write_bytes(b"{{ messages[0].content }}\r\n")
    (directory / "tokenizer.model").write_bytes(bytes(range(256)))
