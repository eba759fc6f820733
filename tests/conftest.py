"""What holds for all tests: no network, no traces in the user's caches, one thread, no flushing.

The environment is set when this file is imported, which is before any test imports
transformers: it reads these variables once.
"""

import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.pairs import Pair
    from support.variants import Variant

# Every worker of pytest-xdist has its own: transformers copies the code of remote models here.
_CACHE = tempfile.TemporaryDirectory(prefix="forgather-tests-", ignore_cleanup_errors=True)
os.environ.update(
    HF_HOME=_CACHE.name,
    HF_MODULES_CACHE=str(Path(_CACHE.name) / "modules"),
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    TOKENIZERS_PARALLELISM="false",
    OMP_NUM_THREADS="1",
)


# No test needs its files after a power cut: those of flushing count the calls, or make them fail.
os.fsync = lambda fd: None


def pytest_collection_finish() -> None:
    """What is imported by now stays: each logit check would look at all of it several times."""
    gc.collect()
    gc.freeze()
    # Models in tests are small, and have many objects to look at.
    gc.set_threshold(20_000, 50)


def pytest_unconfigure() -> None:
    """Workers of pytest-xdist end without Python's own clean-up."""
    _CACHE.cleanup()
    loading = sys.modules.get("forgather_convert.dynamic_model.loading")
    if loading is not None:
        shutil.rmtree(loading.code_directory(), ignore_errors=True)


@pytest.fixture(scope="session")
def convert_once(tmp_path_factory: pytest.TempPathFactory) -> "Callable[[Variant, str], Pair]":
    """Gives a variant in both formats; what was converted before is not converted again."""
    # Not above: tests that need no model start without torch.
    from support.pairs import Pair

    pairs: dict[tuple[str, str], Pair] = {}

    def get(variant: "Variant", dtype: str) -> Pair:
        key = (variant.id, dtype)
        if key not in pairs:
            pairs[key] = Pair.create(tmp_path_factory.mktemp("-".join(key)), variant, dtype)
        return pairs[key]

    return get


@pytest.fixture
def pair(convert_once: "Callable[[Variant, str], Pair]", variant: "Variant", dtype: str) -> "Pair":
    """The pair for the variant and the dtype that a test is parametrised with."""
    return convert_once(variant, dtype)
