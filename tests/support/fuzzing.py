"""What a hostile or damaged directory may hold, and what a conversion may make of it."""

import copy
import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from forgather_convert import ConvertOptions, ForgatherConvertError, convert
from support.directories import snapshot

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

Place = tuple[str | int, ...]


def times(examples: int) -> settings:
    """Settings for cheap properties: so many times the examples of the profile."""
    return settings(max_examples=settings.default.max_examples * examples)


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


@st.composite
def changed_values(draw: st.DrawFn, value: Any, changes: int = 2) -> Any:
    """A JSON object with some of its values exchanged, removed or added."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, changes))):
        *outer, last = draw(
            st.sampled_from([place for place in places(value) if place] or [("a",)])
        )
        holder = value
        for key in outer:
            holder = holder[key]
        match draw(st.sampled_from(["exchange", "exchange", "remove", "add"])):
            case "exchange":
                holder[last] = draw(WRONG_VALUES)
            case "remove" if last in holder or isinstance(holder, list):
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


def outcome(source: Path, **options: Any) -> Path | None:
    """Converts a directory that may be damaged.

    Returns:
        The result, or ``None`` if the directory is refused with an error of the library, which is
        for people: all other errors are raised. Beside the result nothing may have changed.
    """
    destination = source.with_name("destination")
    before = snapshot(source.parent)
    refusal = None
    try:
        convert(source, destination, ConvertOptions(**options))
    except ForgatherConvertError as error:
        refusal = str(error)
    if refusal is not None:
        assert refusal.strip()
        assert "Traceback" not in refusal
        assert snapshot(source.parent) == before
        return None
    after = snapshot(source.parent)
    assert {name: data for name, data in after.items() if not name.startswith("destination")} == (
        before
    )
    return destination
