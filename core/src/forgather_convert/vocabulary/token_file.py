"""Reads the YAML file of ``--add-tokens``.

The schema is declared with pydantic; the line numbers in messages come from YAML's syntax tree.
"""

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import yaml

from forgather_convert.errors import OptionError
from forgather_convert.vocabulary.requests import Init, InitKind, Role, TokenRequest

#: The maximum size of the file in bytes, enough for some hundred thousand tokens.
_MAX_SIZE = 8 << 20
#: The deepest entry of the schema is ``regular_tokens[0].init.average_of[0]``.
_MAX_DEPTH = 10

_Key = tuple[str | int, ...]
_Text = Annotated[str, pydantic.StringConstraints(strict=True, min_length=1)]


class _InitSchema(pydantic.BaseModel):
    """An ``init`` in its normalized form."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    kind: Literal["zero", "mean", "subwords", "copy", "average_of"]
    tokens: list[_Text] = []


def _normalize_init(value: Any) -> Any:
    if isinstance(value, str):
        if value not in ("zero", "mean", "subwords"):
            raise ValueError(
                f"{value!r} is not an init; it is one of zero, mean, subwords, "
                "{copy: TOKEN}, {average_of: [TOKEN, ...]}"
            )
        return {"kind": value}
    if isinstance(value, Mapping) and len(value) == 1:
        ((kind, tokens),) = value.items()
        if kind == "copy":
            if not isinstance(tokens, str):
                raise ValueError("'copy' takes one token")
            return {"kind": kind, "tokens": [tokens]}
        if kind == "average_of":
            if not isinstance(tokens, list) or not tokens:
                raise ValueError("'average_of' takes a list of tokens")
            return {"kind": kind, "tokens": tokens}
    raise ValueError(
        "an init is one of zero, mean, subwords, {copy: TOKEN}, {average_of: [TOKEN, ...]}"
    )


class _TokenSchema(pydantic.BaseModel):
    """A token, as a string or as a dictionary."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    token: _Text
    init: Annotated[_InitSchema, pydantic.BeforeValidator(_normalize_init)] | None = None
    if_missing: bool = False


def _normalize_token(value: Any) -> Any:
    if isinstance(value, str):
        return {"token": value}
    if not isinstance(value, Mapping):
        raise ValueError("a token is a string, or a dictionary with 'token'")
    return value


_Token = Annotated[_TokenSchema, pydantic.BeforeValidator(_normalize_token)]


class _FileSchema(pydantic.BaseModel):
    """The whole file."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    bos_token: _Token | None = None
    eos_token: _Token | None = None
    pad_token: _Token | None = None
    unk_token: _Token | None = None
    special_tokens: list[_Token] = []
    regular_tokens: list[_Token] = []


def read_token_file(path: Path) -> tuple[TokenRequest, ...]:
    """Reads and checks a token file.

    Returns:
        The requests: named tokens first, then special, then regular ones, as in the file.

    Raises:
        OptionError: It cannot be read, is not YAML, or does not follow the schema; with the
            key and the line.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_SIZE + 1)
        if len(data) > _MAX_SIZE:
            raise OptionError(
                f"The token file {path} is larger than {_MAX_SIZE >> 20} MiB. Give a file with "
                "tokens only."
            )
        text = data.decode("utf-8")
    except OSError as error:
        raise OptionError(f"The token file {path} cannot be read: {error}.") from error
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise OptionError(
            f"{path}:{line}: invalid YAML: it is not UTF-8. Save the file as UTF-8."
        ) from error
    content, lines = _parse(text, path)
    try:
        schema = _FileSchema.model_validate(content)
    except pydantic.ValidationError as error:
        raise OptionError(_describe(error, path, lines)) from error
    requests = tuple(_requests(schema, path, lines))
    if not requests:
        raise OptionError(f"The token file {path} names no tokens. Add some, or leave it out.")
    _refuse_duplicates(requests)
    return requests


class _RefusedError(yaml.MarkedYAMLError):
    """A feature of YAML that is not accepted in token files."""


class _TokenFileLoader(yaml.SafeLoader):
    """Reads YAML without aliases, with which a short file could expand to any size."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            alias = self.peek_event()  # type: ignore[no-untyped-call]
            problem = f"the alias '*{alias.anchor}' is not supported; write its value out"
            raise _RefusedError(problem=problem, problem_mark=alias.start_mark)
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise _RefusedError(problem="this is nested too deeply", problem_mark=mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _parse(text: str, path: Path) -> tuple[Any, dict[_Key, int]]:
    """Parses YAML; returns its content and the line of every key and item."""
    loader = None
    try:
        loader = _TokenFileLoader(text)
        root = loader.get_single_node()
        if not isinstance(root, yaml.MappingNode):
            line = 1 if root is None else root.start_mark.line + 1
            raise OptionError(
                f"{path}:{line}: a token file is a dictionary with keys such as 'pad_token' or "
                "'special_tokens'."
            )
        lines: dict[_Key, int] = {}
        _collect_lines(root, (), lines, path)
        _check_scalars(root, loader, path)
        return loader.construct_document(root), lines
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise OptionError(f"{path}:{line}: invalid YAML: {error.reason}.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        position = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or str(error)
        if not isinstance(error, _RefusedError):
            problem = f"invalid YAML: {problem}"
        raise OptionError(f"{position}: {problem}.") from error
    # PyYAML does not catch Python's exception for a character beyond Unicode.
    except (ValueError, OverflowError) as error:
        line = loader.line + 1 if loader else 1
        raise OptionError(f"{path}:{line}: invalid YAML: {error}.") from error


def _collect_lines(node: yaml.Node, key: _Key, lines: dict[_Key, int], path: Path) -> None:
    lines.setdefault(key, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if not isinstance(name, yaml.ScalarNode):
                raise OptionError(f"{path}:{name.start_mark.line + 1}: a key must be a word.")
            child = (*key, name.value)
            if child in lines:
                raise OptionError(
                    f"{path}:{name.start_mark.line + 1}: the key '{name.value}' is given twice."
                )
            lines[child] = name.start_mark.line + 1
            _collect_lines(value, child, lines, path)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _collect_lines(value, (*key, index), lines, path)


def _check_scalars(node: yaml.Node, loader: yaml.SafeLoader, path: Path) -> None:
    """Refuses values that are invalid for their YAML type, such as a date in month 13."""
    if isinstance(node, yaml.CollectionNode):
        for item in node.value:
            for child in item if isinstance(item, tuple) else (item,):
                _check_scalars(child, loader, path)
        return
    try:
        loader.construct_object(node)
    # PyYAML does not catch Python's exceptions for them.
    except (ValueError, LookupError, AttributeError, ArithmeticError) as error:
        kind = node.tag.rpartition(":")[2]
        raise OptionError(
            f"{path}:{node.start_mark.line + 1}: {node.value[:40]!r} is not a YAML {kind}. Put it "
            "in quotes."
        ) from error


def _describe(error: pydantic.ValidationError, path: Path, lines: Mapping[_Key, int]) -> str:
    messages = []
    for problem in error.errors():
        key: _Key = problem["loc"]
        while key not in lines:
            key = key[:-1]
        name = ".".join(map(str, problem["loc"])) or "the file"
        match problem["type"]:
            case "extra_forbidden":
                text = f"unknown key '{problem['loc'][-1]}'. {_advice(problem['loc'])}"
            case "string_too_short":
                text = f"{name}: a token must not be empty."
            case "value_error":
                text = f"{name}: {problem['ctx']['error']}."
            case _:
                text = f"{name}: {problem['msg'][0].lower()}{problem['msg'][1:]}."
        messages.append(f"{path}:{lines[key]}: {text}")
    return "\n".join(messages)


def _advice(key: _Key) -> str:
    """Suggests keys instead of an unknown one: ``"Did you mean 'init'?"``."""
    schema: type[pydantic.BaseModel] = _FileSchema if len(key) == 1 else _TokenSchema
    known = list(schema.model_fields)
    similar = difflib.get_close_matches(str(key[-1]), known, n=1)
    return f"Did you mean '{similar[0]}'?" if similar else f"Known keys: {', '.join(known)}."


def _requests(schema: _FileSchema, path: Path, lines: Mapping[_Key, int]) -> Iterator[TokenRequest]:
    for role in Role:
        value = getattr(schema, role.value)
        if role.is_named:
            if value is not None:
                yield _request(value, role, f"{path}:{lines[(role.value,)]}")
            continue
        for index, item in enumerate(value):
            yield _request(item, role, f"{path}:{lines[(role.value, index)]}")


def _request(schema: _TokenSchema, role: Role, origin: str) -> TokenRequest:
    init = None
    if schema.init is not None:
        init = Init(InitKind(schema.init.kind), tuple(schema.init.tokens))
    return TokenRequest(schema.token, role, init, schema.if_missing, origin)


def _refuse_duplicates(requests: tuple[TokenRequest, ...]) -> None:
    seen: dict[str, TokenRequest] = {}
    for request in requests:
        first = seen.setdefault(request.token, request)
        if first is request:
            continue
        # Two named roles may share a token, as padding and end of sequence often do.
        are_named = first.role.is_named and request.role.is_named
        if not are_named or len({first.init, request.init} - {None}) > 1:
            raise OptionError(
                f"{request.origin}: the token '{request.token}' is given twice, first at "
                f"{first.origin}."
            )
