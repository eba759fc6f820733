"""Which of the families' tests a run without options has.

A suite runs in full for the first of a family's configs; on transformers 4, without the tests of
what the class does not change. For the other configs, it runs the tests of what their branches of
the code compute, with padding, and of the round trip; on transformers 4, of logits only. They run
with the attention that models use by default, in bfloat16; logits with the other attention in
float32, too. ``--every-config`` runs everything.
"""

from functools import cache
from typing import Any

import pytest

FOR_OTHER_CONFIGS = frozenset(
    (
        "test_logits",
        "test_logits_of_cached_decoding",
        "test_gradients",
        "test_what_transformers_saves_comes_back",
    )
)
FOR_OTHER_CONFIGS_ON_VERSION_4 = frozenset(("test_logits",))
#: Of the text models of composites, whose own suites run what else depends on a config.
FOR_OTHER_TEXT_CONFIGS = frozenset(
    ("test_computes_like_the_whole_model", "test_round_trip_is_byte_identical")
)
#: What they prove depends on names, files and the defaults of config classes.
NOT_ON_VERSION_4 = frozenset(
    (
        "test_a_model_in_memory",
        "test_config_with_sizes_only",
        "test_a_missing_tensor_is_named",
        "test_a_tensor_of_the_wrong_shape_is_named",
        "test_an_extra_tensor_is_named",
        "test_changed_weights_come_back",
        "test_vocabulary_grows",
    )
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--every-config",
        action="store_true",
        help="run all tests of the families' suites for all configs, not only for the first",
    )


def _is_left_out(item: pytest.Item, is_version_4: bool) -> bool:
    name = getattr(item, "originalname", item.name)
    suite: Any = getattr(item, "cls", None)
    configs: Any = getattr(suite, "configs", None)
    parameters: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
    if "text_converter" in parameters:
        first_text, *_ = parameters["text_converter"]().get_tiny_configs().values()
        if parameters["text"] == first_text:
            return False
        is_repeated = parameters.get("attention") == "eager" or parameters.get("shards") == 1
        return name not in FOR_OTHER_TEXT_CONFIGS or is_repeated
    config_name = parameters.get("config_name")
    if not configs or config_name in (None, next(iter(configs))):
        return is_version_4 and name in NOT_ON_VERSION_4
    if name not in (FOR_OTHER_CONFIGS_ON_VERSION_4 if is_version_4 else FOR_OTHER_CONFIGS):
        return True
    return not parameters.get("padded", True) or not _is_for_other_configs(
        name, suite, parameters.get("attention"), parameters.get("dtype"), is_version_4
    )


def _is_for_other_configs(
    name: str, suite: Any, attention: str | None, dtype: str | None, is_version_4: bool
) -> bool:
    """Whether other configs are tested with this attention and in this dtype.

    A branch of a config, an attention and a dtype are three places in the code: each config meets
    each attention and each dtype, but not each of their combinations.
    """
    if attention is None:
        return True
    other, default = _attentions(suite)
    if name != "test_logits" or is_version_4:
        return attention == default and dtype != "float32"
    return other == default or (attention == default) == (dtype == "bfloat16")


@cache
def _attentions(suite: Any) -> tuple[str, str]:
    """The first attention that a suite's models can use, and the one that they use by default."""
    from forgather_convert.testing.capabilities import attention_implementations, why_absent
    from forgather_convert.testing.converted import Family

    family = Family(suite.converter_class())
    if why_absent(family.hooks):
        return "eager", "eager"
    first, *_, default = 2 * attention_implementations(family.reference.model_class)
    return first, default


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out the other tests of other configs."""
    if config.getoption("--every-config"):
        return
    # Not above: transformers reads environment variables that other files may still set.
    from forgather_convert.testing.capabilities import IS_OLDER

    left_out = [item for item in items if _is_left_out(item, IS_OLDER)]
    config.hook.pytest_deselected(items=left_out)
    names = {item.nodeid for item in left_out}
    items[:] = [item for item in items if item.nodeid not in names]
