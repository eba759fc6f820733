"""Opens the weights of a directory, or explains why they cannot be read and what to do."""

from enum import Enum
from pathlib import Path

from forgather_convert.errors import SourceError
from forgather_convert.source.forgather_signs import PROVENANCE_FILE
from forgather_convert.weights.checkpoint import Checkpoint
from forgather_convert.weights.file_names import INDEX_FILE, SINGLE_FILE
from forgather_convert.weights.formats import OpenWeights, open_core_weights

ADAPTER_CONFIG_FILE = "adapter_config.json"
ADAPTER_SAFETENSORS_FILE = "adapter_model.safetensors"
ADAPTER_PYTORCH_FILE = "adapter_model.bin"
_ADAPTERS = (ADAPTER_SAFETENSORS_FILE, ADAPTER_PYTORCH_FILE, ADAPTER_CONFIG_FILE)
_MERGE = (
    "Merge them into the model first, with peft's merge_and_unload() and save_pretrained(), and "
    "convert the merged model"
)
_CONVERT = (
    "To convert the adapter itself, give its directory as the source, and its base model with "
    "--base DIR"
)
#: Files that trainers save beside a model.
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
    """Opens the weights of a directory by reading their headers.

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
            "Fix its permissions, or copy it again."
        ) from error
    refuse_adapters(directory)
    return checkpoint


def refuse_adapters(directory: Path) -> None:
    """Refuses a model with adapters beside its weights.

    From such a directory, transformers loads the adapters and their base model, wherever that is,
    instead of the weights beside them. So the adapters' config must not be copied, and leaving it
    out would lose trained weights.

    Raises:
        SourceError: There are adapters.
    """
    if (directory / ADAPTER_CONFIG_FILE).is_file():
        raise SourceError(
            f"{directory} contains adapters (PEFT) beside the model's weights: because of "
            f"{ADAPTER_CONFIG_FILE}, transformers loads the adapters and their base model instead. "
            f"{_MERGE}; or remove {ADAPTER_CONFIG_FILE} to convert the weights without "
            f"the adapters. {_CONVERT}."
        )


class CheckpointKind(Enum):
    """The content of a directory, judging by file names."""

    WEIGHTS = "weights"
    ADAPTERS = "adapters (PEFT)"
    DEEPSPEED = "DeepSpeed"
    DISTRIBUTED = "distributed (FSDP)"
    OTHER_FORMATS = "other formats"
    TRAINING_STATE = "training state"


def checkpoint_kinds(directory: Path) -> tuple[CheckpointKind, ...]:
    """The content of a directory, judging by file names; empty if none of them is known."""
    kinds = []
    names = (*SINGLE_FILE.values(), *INDEX_FILE.values())
    if any((directory / name).is_file() for name in names):
        kinds.append(CheckpointKind.WEIGHTS)
    for contents, patterns in (
        (CheckpointKind.ADAPTERS, _ADAPTERS),
        (CheckpointKind.DEEPSPEED, _DEEPSPEED),
        (CheckpointKind.DISTRIBUTED, _DISTRIBUTED),
    ):
        if _has(directory, patterns):
            kinds.append(contents)
    state = _matching(directory, _TRAINING_STATE)
    if not kinds and _others(directory, state):
        kinds.append(CheckpointKind.OTHER_FORMATS)
    if state:
        kinds.append(CheckpointKind.TRAINING_STATE)
    return tuple(kinds)


def _why_none(directory: Path) -> str:
    """What a directory without weights contains instead, judging by file names, and a remedy."""
    contents = checkpoint_kinds(directory)
    if not contents and (directory / PROVENANCE_FILE).is_file():
        return (
            "It is a converted Forgather model without its weights. If it was converted with "
            "--code-only, fill the model with load_hf_weights and save it there with "
            "save_pretrained; otherwise convert it again."
        )
    if CheckpointKind.ADAPTERS in contents:
        return f"It only contains adapters (PEFT). {_CONVERT}. Or {_MERGE[0].lower()}{_MERGE[1:]}."
    if CheckpointKind.DEEPSPEED in contents:
        return (
            "It contains a DeepSpeed checkpoint, which is not supported. Collect its weights with "
            "the script zero_to_fp32.py that DeepSpeed saved there: run "
            "python zero_to_fp32.py --safe_serialization . merged in that directory."
        )
    if CheckpointKind.DISTRIBUTED in contents:
        return (
            "It contains shards of a distributed checkpoint (FSDP), but no .metadata, which is "
            "written last: the training was interrupted while it was saving."
        )
    if CheckpointKind.OTHER_FORMATS in contents:
        others = _others(directory, _matching(directory, _TRAINING_STATE))
        names = ", ".join(repr(name) for name in others[:_MAX_NAMES])
        more = ", ..." if len(others) > _MAX_NAMES else ""
        return (
            f"Files in other formats or with other names ({names}{more}) are not supported: "
            "convert them to one of these, or rename them."
        )
    if CheckpointKind.TRAINING_STATE in contents:
        return (
            "It contains only a trainer's state (optimizer, schedule): the training was "
            "interrupted while it was saving, or does not save the model."
        )
    if not any(directory.iterdir()):
        return "It is empty: perhaps the training was interrupted while it was saving."
    return "Download the model's weights in one of these formats."


def _others(directory: Path, state: list[str]) -> list[str]:
    """Files in unsupported formats of weights."""
    return [name for name in _matching(directory, _OTHER_FORMATS) if name not in state]


def _has(directory: Path, patterns: tuple[str, ...]) -> bool:
    return any(True for pattern in patterns for _ in directory.glob(pattern))


def _matching(directory: Path, patterns: tuple[str, ...]) -> list[str]:
    names = {path.name for pattern in patterns for path in directory.glob(pattern)}
    return sorted(names)
