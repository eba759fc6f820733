"""Which of the families' tests a run without options has.

A suite runs in full for the first of a family's configs. For the others, it runs the tests of what
their branches of the code compute, in bfloat16, and of the round trip, whose conversions compare
the logits in float32 themselves; on transformers 4, of logits only. ``--every-config`` runs
everything.
"""

from typing import Any

import pytest

FOR_OTHER_CONFIGS = frozenset(
    (
        "test_logits",
        "test_logits_of_cached_decoding",
        "test_gradients",
        "test_round_trip_is_byte_identical",
    )
)
FOR_OTHER_CONFIGS_ON_VERSION_4 = frozenset(("test_logits",))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--every-config",
        action="store_true",
        help="run all tests of the families' suites for all configs, not only for the first",
    )


def _is_left_out(item: pytest.Item, for_other_configs: frozenset[str]) -> bool:
    configs: Any = getattr(getattr(item, "cls", None), "configs", None)
    parameters: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
    config_name = parameters.get("config_name")
    if not configs or config_name in (None, next(iter(configs))):
        return False
    name = getattr(item, "originalname", item.name)
    return name not in for_other_configs or parameters.get("dtype", "bfloat16") != "bfloat16"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out the other tests of other configs."""
    if config.getoption("--every-config"):
        return
    # Not above: transformers reads environment variables that other files may still set.
    from forgather_convert.testing.capabilities import IS_OLDER

    kept = FOR_OTHER_CONFIGS_ON_VERSION_4 if IS_OLDER else FOR_OTHER_CONFIGS
    left_out = [item for item in items if _is_left_out(item, kept)]
    config.hook.pytest_deselected(items=left_out)
    names = {item.nodeid for item in left_out}
    items[:] = [item for item in items if item.nodeid not in names]
