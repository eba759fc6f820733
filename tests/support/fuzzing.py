"""What a hostile or damaged directory may hold, and what a conversion may make of it."""

import copy
import json
import math
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import event, settings
from hypothesis import strategies as st

from forgather_convert import ConvertOptions, ForgatherConvertError, convert
from forgather_convert.files.plain_text import printable
from support.command import forgather
from support.confinement import confined
from support.directories import snapshot

#: Options whose name on the command line is another one.
_FLAGS = {"logit_check": "--no-logit-check", "token_file": "--add-tokens"}
#: Longer than any message, in characters.
_LONGEST = 20_000

#: JSON values of every type, at the limits of what programs hold.
WRONG_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 70),
    st.sampled_from([2**31 - 1, 2**31, 2**63, 2**64, 10**30, -(2**63), 10**400]),
    st.floats(),
    st.sampled_from(["", "a", "silu", "../x", "/etc/passwd", "\x1b[31m", "\n", "default", "yarn"]),
    st.text(max_size=5),
    st.lists(st.integers(-1, 5), max_size=3),
    st.dictionaries(st.sampled_from(["rope_type", "rope_theta", "factor", "a"]), st.floats()),
)

#: For places that are left out.
ABSENT = object()
#: One of each type, and of those that pass for another, at the limits of what programs hold.
KINDS: tuple[Any, ...] = (
    ABSENT,
    None,
    True,
    False,
    -1,
    0,
    1,
    7,
    2**31,
    2**64,
    -(2**63),
    0.5,
    1.0,
    -0.0,
    1e-300,
    1e300,
    math.nan,
    math.inf,
    "",
    "a",
    "1",
    "../x",
    "\x1b[31m",
    [],
    [1],
    ["a", None],
    {},
    {"a": 1},
)

Place = tuple[str | int, ...]


def times(long: float, few: float = 1) -> settings:
    """Settings for properties that are cheaper than others, or dearer.

    Args:
        long: How many times the examples of the profile ``long`` are tried in there.
        few: Likewise for the profile that is part of all tests.
    """
    default = settings.default
    assert default is not None
    return settings(
        max_examples=round(default.max_examples * (few if default.derandomize else long))
    )


def places(value: Any, place: Place = ()) -> Iterator[Place]:
    """Where values are inside of a JSON value, outermost first."""
    yield place
    inner: Iterable[tuple[str | int, Any]] = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    for key, item in inner:
        yield from places(item, (*place, key))


def with_one_wrong(value: Any) -> st.SearchStrategy[Any]:
    """A JSON object with a value of another type in one place, or without it.

    Hypothesis tries every one of them where it may try as many.
    """
    choices = [(place, kind) for place in places(value) if place for kind in range(len(KINDS))]
    return st.sampled_from(choices).map(lambda choice: _with(value, choice[0], KINDS[choice[1]]))


def _with(value: Any, place: Place, new: Any) -> Any:
    value = copy.deepcopy(value)
    *outer, last = place
    holder: Any = value
    for key in outer:
        holder = holder[key]
    if new is ABSENT:
        del holder[last]
    else:
        holder[last] = new
    return value


@st.composite
def changed_values(draw: st.DrawFn, value: Any, changes: int = 2) -> Any:
    """A JSON object with some of its values exchanged, removed or added."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, changes))):
        *outer, last = draw(
            st.sampled_from([place for place in places(value) if place] or [("a",)])
        )
        holder: Any = value
        for key in outer:
            holder = holder[key]
        is_list = isinstance(holder, list)
        match draw(st.sampled_from(["exchange", "exchange", "remove", "add"])):
            case "exchange":
                holder[last] = draw(WRONG_VALUES)
            case "remove" if is_list or last in holder:
                del holder[last]
            case _ if isinstance(holder, dict):
                holder[draw(st.text(max_size=3))] = draw(WRONG_VALUES)
            case _:
                holder.append(draw(WRONG_VALUES))
    return value


@st.composite
def changed_bytes(draw: st.DrawFn, data: bytes) -> bytes:
    """Bytes of which some are exchanged, removed, repeated or cut off."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 12)))
        new = draw(
            st.one_of(
                st.binary(max_size=4),
                st.sampled_from(
                    [b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"0", b"-", b" "]
                ),
                st.just(data[start:end] * 2),
            )
        )
        data = data[:start] + new + data[end:]
    return data[: draw(st.integers(0, len(data)))] if draw(st.integers(0, 9)) == 0 else data


@st.composite
def changed_texts(draw: st.DrawFn, content: Any) -> bytes:
    """The text of a JSON file with wrong values, or with wrong bytes."""
    if draw(st.booleans()):
        content = draw(changed_values(content))
    text = json.dumps(content).encode("utf-8")
    return draw(changed_bytes(text)) if draw(st.booleans()) else text


@contextmanager
def copied(model: Path, root: Path) -> Iterator[Path]:
    """A copy of a model to be damaged, which is gone afterwards with all that lies beside it."""
    room = root / "room"
    shutil.copytree(model, room / "source")
    try:
        yield room / "source"
    finally:
        shutil.rmtree(room)


def refusal_of(action: Callable[[], object], room: Path) -> str | None:
    """Does something with what may be damaged, within bounds.

    Args:
        action: What to do.
        room: The only directory in which it may write.

    Returns:
        The message of the library's error, which is for people; ``None`` without one. All other
        errors are raised.
    """
    with confined(room):
        try:
            action()
        except ForgatherConvertError as error:
            refusal = error
        else:
            event("accepted")
            return None
    event("refused")
    # Whoever catches everything would hide it.
    assert not any(isinstance(cause, MemoryError) for cause in _causes(refusal))
    _assert_is_for_people(str(refusal))
    return str(refusal)


def outcome(source: Path, by_command: bool = False, **options: Any) -> Path | None:
    """Converts a directory that may be damaged.

    Args:
        source: The directory.
        by_command: Whether the command converts it, not the library.
        options: Fields of ``ConvertOptions``.

    Returns:
        The result, or ``None`` if the directory is refused, with one clear error. Beside the result
        nothing may have changed.
    """
    destination = source.with_name("destination")
    before = snapshot(source.parent)
    if by_command:
        is_refused = _command_refuses(source, destination, options)
    else:
        is_refused = None is not refusal_of(
            lambda: convert(source, destination, ConvertOptions(**options)), source.parent
        )
    after = snapshot(source.parent)
    kept = {name: data for name, data in after.items() if not name.startswith("destination/")}
    assert kept == before
    assert destination.exists() is not is_refused
    return None if is_refused else destination


def _command_refuses(source: Path, destination: Path, options: Mapping[str, Any]) -> bool:
    arguments = [argument for name in options for argument in _argument(name, options[name])]
    with confined(source.parent):
        ended = forgather("convert", *arguments, "--", source, destination)
    event("accepted" if ended.returncode == 0 else "refused")
    assert not any("Traceback" in text for text in (ended.stdout, ended.stderr))
    if ended.returncode == 0:
        return False
    assert (ended.returncode, ended.stdout) == (1, ""), ended.stderr
    _, *errors = ended.stderr.split("ERROR: ")
    assert len(errors) == 1, ended.stderr
    assert "This is a bug" not in errors[0]
    _assert_is_for_people(errors[0])
    assert printable(ended.stderr) == ended.stderr
    return True


def _argument(name: str, value: Any) -> tuple[str, ...]:
    flag = _FLAGS.get(name, f"--{name.replace('_', '-')}")
    if isinstance(value, bool):
        return (flag,) if value is not (name == "logit_check") else ()
    return (f"{flag}={value}",)


def _assert_is_for_people(message: str) -> None:
    assert message.strip()
    assert "Traceback" not in message
    assert len(message) < _LONGEST


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
