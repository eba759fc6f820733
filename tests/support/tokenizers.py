"""Real tokenizers for the tests: trained on the spot, or shipped by a package."""

import importlib.resources
import json
import shutil
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

_CORPUS = [
    "The old bridge crosses the river where the mill once stood.",
    "Models are converted, trained, and converted back; nothing but names may change.",
    "def convert(source, destination): return plan(source).execute(destination)",
    "Größe, naïve, 東京, привет: other scripts are bytes, too. 0123456789",
] * 8
SPECIAL = ["<unk>", "<s>", "</s>"]


def write_byte_level_bpe(directory: Path, pad_token: str | None = None) -> int:
    """Trains a byte-level BPE and saves it as the running transformers does.

    Its texts begin with ``<s>``, by a template, as Llama 3's do.

    Returns:
        The number of its tokens.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return _save(tokenizer, directory, pad_token)


def write_unigram(directory: Path, pad_token: str | None = None) -> int:
    """Trains a unigram model and saves it; gives the number of its tokens."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    return _save(tokenizer, directory, pad_token)


def write_sentencepiece(directory: Path, pad_token: str | None = None) -> int:
    """Writes Mistral 7B's ``tokenizer.model`` alone; gives the number of its tokens."""
    data = importlib.resources.files("mistral_common") / "data" / "tokenizer.model.v1"
    with importlib.resources.as_file(data) as path:
        shutil.copyfile(path, directory / "tokenizer.model")
    config = {
        "add_bos_token": True,
        "add_eos_token": False,
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": pad_token,
        "model_max_length": 1000000000000000019884624838656,
        "legacy": True,
        "tokenizer_class": "LlamaTokenizer",
        "clean_up_tokenization_spaces": False,
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(config, indent=2))
    return 32000


def _save(tokenizer: Tokenizer, directory: Path, pad_token: str | None) -> int:
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token=pad_token,
    )
    fast.save_pretrained(directory)
    return len(fast)


#: One of each kind of tokenizer.
KINDS = {
    "bpe": write_byte_level_bpe,
    "unigram": write_unigram,
    "sentencepiece": write_sentencepiece,
}
