"""Patterns of names are found at once, and as if they were tried one after the other."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from forgather_convert.tensors.names import NamePatterns, compile_pattern

_PARTS = st.sampled_from(["{a}", "{b}", "w", "1", "0", "12", ".", "experts"])
_NAMES = st.lists(st.sampled_from(["0", "1", "12", "01", "w", ".", "experts"]), max_size=5)


@example(["w{a}1", "w1{a}", "w{a}"], "w11")
@example(["layers.{a}.0", "layers.{a}.{b}"], "layers.3.0")
@example(["{a}.{a}"], "1.2")
@settings(max_examples=300, derandomize=True, database=None, deadline=None)
@given(
    st.lists(st.lists(_PARTS, min_size=1, max_size=5).map("".join), max_size=6),
    _NAMES.map("".join),
)
def test_the_first_pattern_that_fits_is_found(patterns: list[str], name: str) -> None:
    found = NamePatterns((pattern, number) for number, pattern in enumerate(patterns)).find(name)
    matches = (
        (number, compile_pattern(text).fullmatch(name)) for number, text in enumerate(patterns)
    )
    expected = next(((number, match.groupdict()) for number, match in matches if match), None)
    assert found == expected
    assert (name in NamePatterns((pattern, None) for pattern in patterns)) is (expected is not None)
