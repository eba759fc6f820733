"""Which of the families' tests a run without options has.

A suite runs in full for the first of a family's configs. For the others, it runs the tests of what
their branches of the code compute, and of the round trip; on transformers 4, of logits only.
``--every-config`` runs everything.
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


def _is_for_another_config(item: pytest.Item) -> bool:
    configs: Any = getattr(getattr(item, "cls", None), "configs", None)
    parameters: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
    name = parameters.get("config_name")
    return bool(configs) and name is not None and name != next(iter(configs))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out the other tests of other configs."""
    if config.getoption("--every-config"):
        return
    # Not above: transformers reads environment variables that other files may still set.
    from forgather_convert.testing.capabilities import IS_OLDER

    kept = FOR_OTHER_CONFIGS_ON_VERSION_4 if IS_OLDER else FOR_OTHER_CONFIGS
    left_out = [
        item
        for item in items
        if _is_for_another_config(item) and getattr(item, "originalname", item.name) not in kept
    ]
    config.hook.pytest_deselected(items=left_out)
    names = {item.nodeid for item in left_out}
    items[:] = [item for item in items if item.nodeid not in names]
