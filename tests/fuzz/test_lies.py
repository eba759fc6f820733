"""No lie of a converter is delivered: a few every day, all of them with the long profile."""

from pathlib import Path

import pytest
from hypothesis import settings

from support.lies import LIES, Lie
from support.lying import assert_refused

#: Every so many lies, one is tried every day.
_STRIDE = 17
_TRIED = LIES if settings.get_current_profile_name() == "long" else LIES[::_STRIDE]


@pytest.mark.parametrize("lie", _TRIED, ids=[lie.id for lie in _TRIED])
def test_a_lie_is_refused(lie: Lie, tmp_path: Path) -> None:
    assert_refused(lie, tmp_path)


def test_there_are_many_lies_in_each_direction() -> None:
    assert sum(lie.to_forgather for lie in LIES) >= 60
    assert sum(not lie.to_forgather for lie in LIES) >= 60
    assert len({lie.id for lie in LIES}) == len(LIES)
