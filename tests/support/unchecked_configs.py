"""Lets conversions write configs that differ, for tests of what else would find it."""

import pytest

from forgather_convert.compare import conversion_configs
from forgather_convert.compare.conversion_configs import ConfigComparison
from forgather_convert.planning import planner


def skip_config_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the end of a test, configs agree whatever they say."""
    monkeypatch.setattr(
        conversion_configs, "check_configs", lambda planned, options: ConfigComparison(0)
    )


def skip_reverse_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the end of a test, plans to Forgather need not have a reverse plan."""
    monkeypatch.setattr(planner, "check_reversible", lambda *_: None)
