"""A tokenizer for tests, trained on the spot: nothing is downloaded."""

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

TEXT = "The old bridge crosses the river where the mill once stood."
#: More than the 256 bytes and the special tokens, so that there are merges.
_SIZE = 290
#: All are named: some families' classes add those that are not.
_SPECIAL = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}


def write_tokenizer(directory: Path) -> int:
    """Trains a byte-level BPE and saves it as the running transformers does.

    Returns:
        The number of its tokens.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_SIZE,
        special_tokens=list(_SPECIAL.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT] * 8, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **_SPECIAL)
    fast.save_pretrained(directory)
    return len(fast)
