"""Lets conversions write configs that differ, for tests of what else would find it."""

import pytest

from forgather_convert.verification import conversion
from forgather_convert.verification.conversion import ConfigComparison


def skip_config_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the end of a test, configs agree whatever they say."""
    monkeypatch.setattr(conversion, "check_configs", lambda planned, options: ConfigComparison(0))
