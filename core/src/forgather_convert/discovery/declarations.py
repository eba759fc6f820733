"""Finds out which model types a converter file registers, without running it."""

import ast
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

from forgather_convert.discovery.framework_converters import sign_of_the_framework

REGISTER = "register_converter"
#: For files that Python cannot parse: enough to tell whether the file is relevant.
_REGISTRATION = re.compile(rf"\b{REGISTER}\(\s*['\"]([^'\"]+)['\"]")


@dataclass(frozen=True)
class Declarations:
    """What the text of a converter file tells.

    Attributes:
        model_types: The model types that it registers by a literal.
        may_have_more: Whether it may register others, which only running it would tell.
        problem: Why it cannot be run; empty if it can.
        sign_of_the_framework: What shows that it is for the Forgather framework; empty otherwise.
    """

    model_types: tuple[str, ...]
    may_have_more: bool
    problem: str = ""
    sign_of_the_framework: str = ""


def read_declarations(path: Path) -> Declarations:
    """Finds the registrations in a file's syntax tree."""
    try:
        content = path.read_bytes()
    except OSError as error:
        return Declarations((), True, f"cannot be read: {error.strerror or error}")
    try:
        with warnings.catch_warnings():
            # Python shows them when the file runs.
            warnings.simplefilter("ignore")
            tree = ast.parse(content, str(path))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f" in line {error.lineno}" if isinstance(error, SyntaxError) else ""
        matches = _REGISTRATION.findall(content.decode("utf-8", "replace"))
        message = error.msg if isinstance(error, SyntaxError) else str(error)
        problem = f"is not valid Python: {message}{line}"
        return Declarations(tuple(dict.fromkeys(matches)), not matches, problem)
    names = _names_of_register(tree)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    literals = {id(call.func): _literal(call) for call in calls if _is_register(call.func, names)}
    mentions = [node for node in ast.walk(tree) if _is_register(node, names)]
    # It is mentioned without a call, or called with something other than a literal.
    is_open = any(literals.get(id(node)) is None for node in mentions)
    registered = [kind for kind in literals.values() if kind is not None]
    model_types = tuple(dict.fromkeys((*registered, *_aliases(tree, names))))
    # Files that it imports may register converters.
    has_siblings = any(isinstance(node, ast.ImportFrom) and node.level for node in ast.walk(tree))
    return Declarations(
        model_types,
        is_open or (not model_types and has_siblings),
        sign_of_the_framework=sign_of_the_framework(tree, names),
    )


def undecorated_classes(path: Path) -> list[tuple[str, str]]:
    """Classes that look like converters but are not registered: name and model type."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_bytes(), str(path))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    names = _names_of_register(tree)
    return [
        (node.name, model_type)
        for node in _classes(tree)
        if node.bases and not _is_registered(node, names)
        for value in _assigned(node, "model_type")
        for model_type in _texts(ast.Tuple([value]))
    ]


def _aliases(tree: ast.Module, names: set[str]) -> list[str]:
    """The literal ``aliases`` of the classes that are registered by a decorator."""
    return [
        text
        for node in _classes(tree)
        if _is_registered(node, names)
        for value in _assigned(node, "aliases")
        for text in _texts(value)
    ]


def _classes(tree: ast.Module) -> list[ast.ClassDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]


def _is_registered(node: ast.ClassDef, names: set[str]) -> bool:
    """Whether a class is registered by a decorator."""
    return any(
        isinstance(decorator, ast.Call) and _is_register(decorator.func, names)
        for decorator in node.decorator_list
    )


def _assigned(node: ast.ClassDef, name: str) -> list[ast.expr]:
    """The values that a class assigns to an attribute."""
    values: list[ast.expr] = []
    for statement in node.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
                values.append(value)
            case ast.AnnAssign(target=ast.Name(id=target), value=ast.expr() as value) if (
                target == name
            ):
                values.append(value)
    return values


def _texts(value: ast.expr) -> list[str]:
    """The literal strings of a tuple or a list."""
    elements = value.elts if isinstance(value, ast.Tuple | ast.List) else []
    return [
        element.value
        for element in elements
        if isinstance(element, ast.Constant) and isinstance(element.value, str)
    ]


def _names_of_register(tree: ast.Module) -> set[str]:
    aliases = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name == REGISTER
    }
    return {REGISTER, *aliases}


def _is_register(node: ast.AST, names: set[str]) -> bool:
    match node:
        case ast.Name(id=name):
            return name in names
        case ast.Attribute(attr=name):
            return name == REGISTER
    return False


def _literal(call: ast.Call) -> str | None:
    values = [*call.args, *(keyword.value for keyword in call.keywords)]
    match values:
        case [ast.Constant(value=str(value))]:
            return value
    return None
