"""The formats of weights and their file names."""

from pathlib import PurePath

#: Weights formats in the order in which transformers looks for them: the name of the
#: only file, of the index, and how a shard's name is built.
SAFETENSORS = "safetensors"
PYTORCH = "pytorch"
SINGLE_FILE = {SAFETENSORS: "model.safetensors", PYTORCH: "pytorch_model.bin"}
#: The suffixes of files with a model's tensors.
WEIGHTS_SUFFIXES = (".safetensors", ".bin", ".distcp")
INDEX_FILE = {
    SAFETENSORS: "model.safetensors.index.json",
    PYTORCH: "pytorch_model.bin.index.json",
}
#: Weights in formats that are not converted, and files that trainers save beside a model.
_OTHER_WEIGHTS = (
    ".safetensors",
    ".bin",
    ".pt",
    ".pth",
    ".gguf",
    ".ggml",
    ".onnx",
    ".h5",
    ".msgpack",
    ".ot",
    ".distcp",
    ".ckpt",
)


def is_weights_name(name: str) -> bool:
    """Whether a file has a name of weights; it is left out if the model's are others."""
    return PurePath(name).suffix.lower() in _OTHER_WEIGHTS or name in INDEX_FILE.values()
