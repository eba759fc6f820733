"""The weights of a directory, or why there are none that can be read and what to do."""

from enum import Enum
from pathlib import Path

from forgather_convert.errors import SourceError
from forgather_convert.weights.checkpoint import Checkpoint
from forgather_convert.weights.file_names import INDEX_FILE, SINGLE_FILE
from forgather_convert.weights.formats import OpenWeights, open_core_weights

ADAPTER_CONFIG_FILE = "adapter_config.json"
ADAPTER_SAFETENSORS_FILE = "adapter_model.safetensors"
ADAPTER_PYTORCH_FILE = "adapter_model.bin"
_ADAPTERS = (ADAPTER_SAFETENSORS_FILE, ADAPTER_PYTORCH_FILE, ADAPTER_CONFIG_FILE)
_MERGE = (
    "Merge them into the model first, with peft's merge_and_unload() and save_pretrained(), and "
    "convert what that saves"
)
_CONVERT = (
    "To convert the adapter as such, give the model that it was made for with --base DIR, and the "
    "adapter's own directory as the source"
)
#: What trainers keep beside a model.
_TRAINING_STATE = (
    "optimizer*",
    "scheduler.pt",
    "scaler.pt",
    "rng_state*",
    "random_states*",
    "trainer_state.json",
    "training_args.bin",
)
_DEEPSPEED = ("global_step*", "*_optim_states.pt", "*zero_pp_rank_*", "mp_rank_*_model_states.pt")
_DISTRIBUTED = ("*.distcp", "pytorch_model_fsdp_*")
_OTHER_FORMATS = (
    "*.safetensors",
    "*.bin",
    "*.pt",
    "*.pth",
    "*.ckpt",
    "*.gguf",
    "*.ggml",
    "*.h5",
    "*.msgpack",
    "*.onnx",
    "*.ot",
)
_MAX_NAMES = 5


def readable_weights(directory: Path, open_weights: OpenWeights = open_core_weights) -> Checkpoint:
    """Opens the weights of a directory: reads their headers.

    Args:
        directory: Where they are.
        open_weights: Knows the formats.

    Raises:
        SourceError: There are none, they are damaged, or transformers would load something
            else from the directory; the message names the cause and the remedy.
    """
    try:
        checkpoint = open_weights(directory)
        if checkpoint is None:
            raise SourceError(
                f"{directory} has no weights (no {' and no '.join(SINGLE_FILE.values())}, nor an "
                f"index of either). {_why_none(directory)}"
            )
    except OSError as error:
        raise SourceError(
            f"{directory} cannot be read: {error.filename or 'a file'}: {error.strerror}. "
            "Correct its permissions, or copy it anew."
        ) from error
    refuse_adapters(directory)
    return checkpoint


def refuse_adapters(directory: Path) -> None:
    """Refuses a model with adapters beside its weights.

    With such a file transformers loads the adapters' base model, wherever that is, and the
    adapters; not the weights beside it. So the file must not be copied, and to leave it out
    would lose what was trained.

    Raises:
        SourceError: There are adapters.
    """
    if (directory / ADAPTER_CONFIG_FILE).is_file():
        raise SourceError(
            f"{directory} holds adapters (PEFT) beside the model's weights: because of "
            f"{ADAPTER_CONFIG_FILE} transformers loads the adapters and the model that they were "
            f"made for. {_MERGE}; or remove {ADAPTER_CONFIG_FILE} to convert the weights without "
            f"the adapters. {_CONVERT}."
        )


class CheckpointKind(Enum):
    """What a directory holds, as far as names of files tell."""

    WEIGHTS = "weights"
    ADAPTERS = "adapters (PEFT)"
    DEEPSPEED = "DeepSpeed"
    DISTRIBUTED = "distributed (FSDP)"
    OTHER_FORMATS = "other formats"
    TRAINING_STATE = "training state"


def checkpoint_kinds(directory: Path) -> tuple[CheckpointKind, ...]:
    """What a directory holds, by the names in it; nothing if none of them is known."""
    found = []
    names = (*SINGLE_FILE.values(), *INDEX_FILE.values())
    if any((directory / name).is_file() for name in names):
        found.append(CheckpointKind.WEIGHTS)
    for contents, patterns in (
        (CheckpointKind.ADAPTERS, _ADAPTERS),
        (CheckpointKind.DEEPSPEED, _DEEPSPEED),
        (CheckpointKind.DISTRIBUTED, _DISTRIBUTED),
    ):
        if _has(directory, patterns):
            found.append(contents)
    state = _matching(directory, _TRAINING_STATE)
    if not found and _others(directory, state):
        found.append(CheckpointKind.OTHER_FORMATS)
    if state:
        found.append(CheckpointKind.TRAINING_STATE)
    return tuple(found)


def _why_none(directory: Path) -> str:
    """What a directory without weights holds instead, by the names in it, and what to do."""
    contents = checkpoint_kinds(directory)
    if CheckpointKind.ADAPTERS in contents:
        return f"It holds adapters (PEFT) only. {_CONVERT}. Or: {_MERGE[0].lower()}{_MERGE[1:]}."
    if CheckpointKind.DEEPSPEED in contents:
        return (
            "It holds a checkpoint of DeepSpeed, which is not read. Collect its weights with the "
            "script zero_to_fp32.py that DeepSpeed left in it: "
            "python zero_to_fp32.py --safe_serialization . merged, there."
        )
    if CheckpointKind.DISTRIBUTED in contents:
        return (
            "It holds shards of a distributed checkpoint (FSDP), but no .metadata beside them, "
            "which is written last: the training was interrupted while it saved."
        )
    if CheckpointKind.OTHER_FORMATS in contents:
        others = _others(directory, _matching(directory, _TRAINING_STATE))
        names = ", ".join(repr(name) for name in others[:_MAX_NAMES])
        more = ", ..." if len(others) > _MAX_NAMES else ""
        return (
            f"Files in other formats or under other names ({names}{more}) are not read: convert "
            "them to one of these, or rename them."
        )
    if CheckpointKind.TRAINING_STATE in contents:
        return (
            "It holds only what a trainer needs to go on (optimizer, schedule): the training was "
            "interrupted while it saved, or does not save the model."
        )
    if not any(directory.iterdir()):
        return "It is empty: perhaps the training was interrupted while it saved."
    return "Download the model's weights in one of these formats."


def _others(directory: Path, state: list[str]) -> list[str]:
    """Files in formats of weights that are not read."""
    return [name for name in _matching(directory, _OTHER_FORMATS) if name not in state]


def _has(directory: Path, patterns: tuple[str, ...]) -> bool:
    return any(True for pattern in patterns for _ in directory.glob(pattern))


def _matching(directory: Path, patterns: tuple[str, ...]) -> list[str]:
    found = {path.name for pattern in patterns for path in directory.glob(pattern)}
    return sorted(found)
