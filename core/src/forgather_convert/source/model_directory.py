"""Finds the model that a trainer's checkpoint belongs to, and where the two disagree.

A converted and trained model has ``checkpoint-N`` in its directory or in ``checkpoints``. A trainer
writes a new config into a checkpoint, in the form that transformers saves, but no provenance and
usually no tokenizer.
"""

import filecmp
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forgather_convert.errors import SourceError
from forgather_convert.files.json_file import read_json_object
from forgather_convert.files.plain_text import one_line
from forgather_convert.files.real_path import real_path
from forgather_convert.source.checkpoint_choice import CHECKPOINTS_DIRECTORY
from forgather_convert.source.config_file import (
    BOOKKEEPING,
    CONFIG_FILE,
    SourceConfig,
    read_config,
)
from forgather_convert.source.forgather_signs import PROVENANCE_FILE, is_forgather_config
from forgather_convert.source.readable_weights import CheckpointKind, checkpoint_kinds
from forgather_convert.source.tokenizer_directory import has_tokenizer
from forgather_convert.source.trainer_state import CHECKPOINT_NAME

logger = logging.getLogger(__name__)

_TOKENIZER_FILE = "tokenizer.json"
_MAX_NAMES = 5

#: Fields that saving or training changes although the model stays the same: transformers' Trainer
#: turns off the cache and aligns the special tokens with its tokenizer's.
CHANGED_BY_TRAINING = BOOKKEEPING | {
    "bos_token_id",
    "eos_token_id",
    "hf_model_type",
    "pad_token_id",
    "use_cache",
}
#: Fields with the same meaning; each version of transformers writes another one.
_ROPE = ("rope_theta", "rope_scaling", "rope_parameters")


def find_model_directory(directory: Path, any_config: bool) -> Path | None:
    """The model that a directory is a checkpoint of; ``None`` if it is not a checkpoint.

    It is the directory that contains ``checkpoint-N`` or ``checkpoints/checkpoint-N``, if it has
    the config of a Forgather model of the same family. A checkpoint without any config may also
    be one of a Hugging Face model.
    """
    for parent in _around(directory):
        if _belong_together(parent, directory, any_config):
            return parent
    return None


def _around(directory: Path) -> tuple[Path, ...]:
    """The directories that a directory may be a checkpoint of, by its name and location.

    There are two if the directory is a link.
    """
    models = []
    for path in (directory.absolute(), real_path(directory)):
        if CHECKPOINT_NAME.fullmatch(path.name):
            is_deeper = path.parent.name == CHECKPOINTS_DIRECTORY
            models.append(path.parent.parent if is_deeper else path.parent)
    return tuple(models)


def _belong_together(model: Path, checkpoint: Path, any_config: bool) -> bool:
    if not (model / CONFIG_FILE).is_file():
        return False
    if not (checkpoint / CONFIG_FILE).is_file():
        return True
    outer, inner = read_config(model), read_config(checkpoint)
    both_are_ours = is_forgather_config(outer) and is_forgather_config(inner)
    return (any_config or both_are_ours) and _is_same_family(outer, inner)


def _is_same_family(one: SourceConfig, other: SourceConfig) -> bool:
    return all(
        one[field] == other[field]
        for field in ("model_type", "hf_model_type")
        if field in one and field in other
    )


def _family_of(config: SourceConfig) -> str:
    types = [config.get(field) for field in ("model_type", "hf_model_type")]
    return " / ".join(repr(one_line(str(value)[:80])) for value in types if value is not None)


def trained_config(config: SourceConfig, checkpoint: Path) -> SourceConfig:
    """A model's config with the changes of a training.

    Args:
        config: The model's config.
        checkpoint: The directory of the weights; it may have a config of its own.

    Raises:
        SourceError: The checkpoint's config cannot be read, or is of another family.
    """
    path = checkpoint / CONFIG_FILE
    if not path.is_file() or str(path) == config.origin:
        return config
    trained = read_config(checkpoint)
    if not _is_same_family(config, trained):
        raise SourceError(
            f"{path} has the model type {_family_of(trained)}, but {config.origin} has "
            f"{_family_of(config)}: this is not a checkpoint of this model. Choose another one "
            f"with --checkpoint-path, or give {checkpoint} as the source to convert it by itself."
        )
    changed = {
        name
        for name, value in trained.items()
        if name in config and config[name] != value and name not in CHANGED_BY_TRAINING
    }
    if changed & {*_ROPE}:
        changed |= {*_ROPE}
    if not changed:
        return config
    logger.warning(
        "%s has other values than %s for %s. They are used, since the weights were trained with "
        "them",
        path,
        config.origin,
        ", ".join(sorted(changed)),
    )
    fields = {name: value for name, value in config.items() if name not in changed}
    fields.update((name, trained[name]) for name in changed if name in trained)
    return SourceConfig(fields, config.origin)


def refuse_other_tokens(model: Path, checkpoint: Path) -> None:
    """Refuses a checkpoint whose tokenizer has tokens that the model's tokenizer lacks.

    The result gets the model's tokenizer, which could not use the trained tokens.

    Raises:
        SourceError: There are such tokens, or a tokenizer cannot be read.
    """
    own, other = model / _TOKENIZER_FILE, checkpoint / _TOKENIZER_FILE
    if not (own.is_file() and other.is_file()) or filecmp.cmp(own, other, shallow=False):
        return
    new = sorted(_tokens(read_json_object(other)) - _tokens(read_json_object(own)))
    if new:
        names = ", ".join(repr(token) for token in new[:_MAX_NAMES])
        more = ", ..." if len(new) > _MAX_NAMES else ""
        raise SourceError(
            f"{other} has tokens that {own} does not have ({names}{more}): the checkpoint was "
            "trained with another tokenizer than the model's. Replace the files of the wrong one "
            "with those of the right one."
        )


def report_lacking_tokenizer(
    config: SourceConfig, metadata_directory: Path, checkpoint: Path
) -> None:
    """Warns that the result gets no tokenizer, if there is one nearby or should be one.

    A trainer without a tokenizer saves none, nor does a model's ``save_pretrained``.
    """
    if has_tokenizer(metadata_directory):
        return
    for directory in (checkpoint, *_around(checkpoint)):
        if has_tokenizer(directory):
            logger.warning(
                "%s has no tokenizer, so the result has none. %s has one; copy its files to the "
                "source or the result",
                metadata_directory,
                directory,
            )
            return
    if is_forgather_config(config) and _was_saved_by_training(config, checkpoint):
        logger.warning(
            "%s has no tokenizer, so the result has none. Copy the files of the tokenizer that it "
            "was used with into the source or the result",
            metadata_directory,
        )


def _was_saved_by_training(config: SourceConfig, checkpoint: Path) -> bool:
    """Whether a trainer wrote a directory, or transformers saved it without its origin."""
    if CheckpointKind.TRAINING_STATE in checkpoint_kinds(checkpoint):
        return True
    is_saved = "transformers_version" in config
    return is_saved and not (Path(config.origin).parent / PROVENANCE_FILE).is_file()


def _tokens(tokenizer: Mapping[str, Any]) -> set[str]:
    """The tokens in the content of a ``tokenizer.json``; none for other content."""
    model, added = tokenizer.get("model"), tokenizer.get("added_tokens")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(vocabulary, list):
        # Unigram models: pairs of a token and its score.
        vocabulary = [pair[0] for pair in vocabulary if isinstance(pair, list) and pair]
    contents = [
        token.get("content")
        for token in (added if isinstance(added, list) else ())
        if isinstance(token, dict)
    ]
    return {token for token in (*(vocabulary or ()), *contents) if isinstance(token, str)}
