"""Reads the arguments and attributes of a component's class from its source, without running it."""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Argument:
    """An argument of a constructor.

    Attributes:
        name: Its name.
        is_required: Whether it has no default.
    """

    name: str
    is_required: bool


@dataclass(frozen=True)
class ComponentClass:
    """A class as described by its source.

    Attributes:
        arguments: The constructor's arguments without ``self``, in order.
        tp_plan: The class attribute ``tp_plan``: how its linear layers are divided among devices,
            by their names, in the form of transformers' ``base_model_tp_plan``.
    """

    arguments: tuple[Argument, ...]
    tp_plan: dict[str, str]


#: Finds the file and the syntax tree for a module's ``from .sibling import``.
Siblings = Callable[[Path, str], tuple[Path, ast.Module]]


def read_class(path: Path, tree: ast.Module, name: str, siblings: Siblings) -> ComponentClass:
    """Reads a class, including what it inherits from classes in the same file and its siblings."""
    lineage = list(_lineage(path, tree, name, siblings, set()))
    constructors = map(_constructor, lineage)
    arguments = next((constructor for constructor in constructors if constructor is not None), ())
    plans = (_literal_attribute(node, "tp_plan") for node in lineage)
    plan: dict[Any, Any] = next(
        (candidate for candidate in plans if isinstance(candidate, dict)), {}
    )
    return ComponentClass(arguments, {str(key): str(value) for key, value in plan.items()})


def _lineage(
    path: Path, tree: ast.Module, name: str, siblings: Siblings, seen: set[tuple[Path, str]]
) -> Iterator[ast.ClassDef | ast.FunctionDef]:
    """A class and those of its bases whose source exists, the most derived first."""
    if (path, name) in seen:
        return
    seen.add((path, name))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            yield node
        if isinstance(node, ast.ClassDef) and node.name == name:
            yield node
            for base in node.bases:
                if isinstance(base, ast.Name):
                    yield from _lineage(path, tree, base.id, siblings, seen)
        if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module is not None:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    other, other_tree = siblings(path, node.module)
                    yield from _lineage(other, other_tree, alias.name, siblings, seen)


def _constructor(node: ast.ClassDef | ast.FunctionDef) -> tuple[Argument, ...] | None:
    if isinstance(node, ast.FunctionDef):
        return tuple(_arguments(node.args))
    for member in node.body:
        if isinstance(member, ast.FunctionDef) and member.name == "__init__":
            return tuple(_arguments(member.args))[1:]
    return None


def _arguments(arguments: ast.arguments) -> Iterator[Argument]:
    positional = [*arguments.posonlyargs, *arguments.args]
    required = len(positional) - len(arguments.defaults)
    for index, argument in enumerate(positional):
        yield Argument(argument.arg, index < required)
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        yield Argument(argument.arg, default is None)


def _literal_attribute(node: ast.ClassDef | ast.FunctionDef, name: str) -> Any:
    for member in node.body if isinstance(node, ast.ClassDef) else ():
        targets: list[ast.expr] = []
        value: ast.expr | None = None
        if isinstance(member, ast.Assign):
            targets, value = member.targets, member.value
        elif isinstance(member, ast.AnnAssign):
            targets, value = [member.target], member.value
        if value is not None and any(
            isinstance(target, ast.Name) and target.id == name for target in targets
        ):
            try:
                return ast.literal_eval(value)
            except ValueError:
                return None
    return None
