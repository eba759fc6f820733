"""The packages of core in their order, and what imports what."""

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

CORE = Path(__file__).parents[2] / "core" / "src" / "forgather_convert"
#: A package imports only those above it. Modules beside the packages stand in the order, too.
ORDER: Mapping[str, str] = {
    "errors": "the errors that users see",
    "progress": "progress of long operations",
    "quantities": "bytes and seconds for people",
    "files": "bounded reading of JSON and text, LFS pointers, file states",
    "tensors": "expressions, weight mappings, matching",
    "weights": "where every tensor's bytes lie: safetensors, .bin, distributed",
    "quantization": "formats of quantized weights",
    "options": "the options of a conversion",
    "source": "detection, checkpoints, config files, RoPE fields",
    "vocabulary": "tokens, tokenizer files, resized rows",
    "dynamic_model": "components, the code generator",
    "families": "hooks, the base class of converters",
    "discovery": "which converters and extensions are installed",
    "models": "source models and target models, and how they are loaded",
    "planning": "the plan: every tensor and every file of the result",
    "logit_check": "what two models compute, side by side",
    "compare": "configs, weights and tokenizers of two models",
    "inspection": "what a directory holds",
    "execution": "writing, and putting the result in its place",
    "adapters": "PEFT adapters, with their base models",
    "conversion": "one pipeline for models and adapters",
    "api": "convert and plan",
    "in_memory": "models in memory, plain or sharded, as sources and targets",
    "converter_tools": "checking and drafting converters",
    "reporting": "certificate and report",
    "cli": "the command line",
    "testing": "the conformance kit",
}
#: They hand on names of the others.
_FACADES = ("__init__", "__main__", "model_conversion")


class Import(NamedTuple):
    """An import of one package in another, or of a module beside them."""

    importer: str
    imported: str
    where: str

    def __str__(self) -> str:
        return f"{self.where} imports {self.imported}"


def imports() -> list[Import]:
    """All imports between the packages of core, those for annotations included."""
    return [
        Import(_package(path), module, f"{path.relative_to(CORE)}:{line}")
        for path in sorted(CORE.rglob("*.py"))
        if _package(path) not in _FACADES
        for module, line in _imported(ast.parse(path.read_text(encoding="utf-8")))
        if module != _package(path)
    ]


def offences(found: list[Import]) -> list[Import]:
    """The imports that are against the order."""
    order = [*ORDER]
    return [
        item
        for item in found
        if item.imported not in order or order.index(item.imported) > order.index(item.importer)
    ]


def diagram() -> str:
    """A Mermaid diagram of the packages; an arrow leads to what a package is built on.

    Arrows that others imply are left out.
    """
    uses: dict[str, set[str]] = defaultdict(set)
    for item in imports():
        uses[item.importer].add(item.imported)
    reached: dict[str, set[str]] = {}
    lines = ["```mermaid", "graph BT"]
    for package in ORDER:
        indirect = set[str]().union(*(reached[used] for used in uses[package]))
        reached[package] = uses[package] | indirect
        lines += [f"    {package} --> {used}" for used in ORDER if used in uses[package] - indirect]
    return "\n".join([*lines, "```"])


def table() -> str:
    """A table of the packages and what each is for."""
    rows = [f"| `{name}` | {purpose} |" for name, purpose in ORDER.items()]
    return "\n".join(["| package | what it is for |", "|---|---|", *rows])


def _package(path: Path) -> str:
    return path.relative_to(CORE).parts[0].removesuffix(".py")


def _imported(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            if node.level == 1:
                # A component's sibling, in generated code.
                continue
            assert node.level == 0, "imports name the whole path"
            names = [node.module or ""]
            if names == ["forgather_convert"]:
                names = [f"forgather_convert.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            root, _, rest = name.partition(".")
            if root == "forgather_convert":
                yield rest.partition(".")[0], node.lineno
