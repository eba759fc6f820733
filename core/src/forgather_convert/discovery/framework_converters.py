"""Recognizes converters that are written for the Forgather framework's own base class.

They have the same names and locations as this tool's converters, but other hooks: with this tool
they would fail, or be applied only in part.
"""

import ast
from collections.abc import Collection, Iterator

from forgather_convert.discovery.converter_imports import IMPORT_PATH

#: A method that a converter of the framework must define, and that this tool never calls.
_HOOKS = ("get_parameter_mappings", "get_config_field_mapping", "get_project_info")
#: Its counterpart in this tool: a file that defines both is for both.
_OWN_HOOK = "get_weight_mapping"
#: The base class of the framework's base class.
_BASE = "ModelConverter"


def sign_of_the_framework(tree: ast.Module, decorators: Collection[str]) -> str:
    """What in a file shows that it is for the framework; empty if nothing does.

    Args:
        tree: The file's syntax tree.
        decorators: The names that ``register_converter`` has in the file.
    """
    for module in _imported_modules(tree):
        if module.startswith(f"{IMPORT_PATH}."):
            return f"it imports {module}"
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and _registers(node, decorators):
            sign = _sign_of_class(node)
            if sign:
                return sign
    return ""


def _imported_modules(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module


def _registers(node: ast.ClassDef, decorators: Collection[str]) -> bool:
    called = (call.func for call in node.decorator_list if isinstance(call, ast.Call))
    return any(_last_name(function) in decorators for function in called)


def _sign_of_class(node: ast.ClassDef) -> str:
    if _BASE in map(_last_name, node.bases):
        return f"{node.name} derives from {_BASE}"
    methods = {
        method.name: method
        for method in node.body
        if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    foreign = [name for name in _HOOKS if name in methods]
    if foreign and _OWN_HOOK not in methods:
        return f"{node.name} defines {foreign[0]}"
    if "__init__" in methods and _gives_arguments_to_base(methods["__init__"]):
        return f"{node.name} passes arguments to its base class"
    return ""


def _gives_arguments_to_base(method: ast.AST) -> bool:
    """Whether it passes arguments to ``super().__init__``, as the framework's base class needs."""
    for node in ast.walk(method):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Call(func=ast.Name(id="super")), attr="__init__")
            ) if node.args or node.keywords:
                return True
    return False


def _last_name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""
