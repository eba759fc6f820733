"""Settings of vLLM, which reads them when it is imported."""

import os

import pytest

os.environ.update(
    VLLM_TARGET_DEVICE="cpu",
    VLLM_CPU_KVCACHE_SPACE="1",
    VLLM_CPU_OMP_THREADS_BIND="nobind",
    VLLM_NO_USAGE_STATS="1",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What vLLM and its libraries warn about is not ours."""
    for item in items:
        item.add_marker(pytest.mark.filterwarnings("default"))
