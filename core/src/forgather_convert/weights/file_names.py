"""The formats of weights and their file names."""

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
