"""The conformance kit cannot be made to pass by leaving tests out."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from forgather_convert import HFConverter
from forgather_convert.dynamic_model import components
from forgather_convert.testing import TINY_DECODER, ConverterConformance, expected_failure

pytestmark = pytest.mark.version_independent

COMPLETE: dict[str, Any] = {"converter_class": HFConverter, "configs": {"plain": TINY_DECODER}}
STANDARD_TESTS = [name for name in vars(ConverterConformance) if name.startswith("test_")]


def define(*bases: type, **attributes: Any) -> type:
    """Defines a suite that has everything, but for what is given."""
    merged = {name: value for name, value in {**COMPLETE, **attributes}.items() if value != "leave"}
    return type("TestSuite", bases or (ConverterConformance,), merged)


def test_a_suite_may_have_tests_of_its_own() -> None:
    suite = define(
        test_own=lambda self: None, helper=1, pytestmark=pytest.mark.usefixtures("capsys")
    )
    assert issubclass(define(suite), ConverterConformance)


def test_suites_do_not_share_what_they_make() -> None:
    caches = [vars(define())["_made"] for _ in range(2)]
    assert caches[0] is not caches[1]


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"converter_class": "leave"}, "converter_class"),
        ({"converter_class": None}, "converter_class"),
        ({"converter_class": HFConverter()}, "converter_class"),
        ({"converter_class": dict}, "converter_class"),
        ({"configs": "leave"}, "configs"),
        ({"configs": {}}, "configs"),
        ({"configs": [TINY_DECODER]}, "configs"),
        ({"configs": {"plain": {}}}, "plain"),
        ({"configs": {"plain": None}}, "plain"),
        ({"configs": {"long": {**TINY_DECODER, "sliding_window": 4096}}}, "4096"),
    ],
)
def test_an_incomplete_suite_is_refused(attributes: dict[str, Any], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        define(**attributes)


@pytest.mark.parametrize("name", STANDARD_TESTS)
@pytest.mark.parametrize("value", [None, lambda self: None], ids=["none", "function"])
def test_no_standard_test_can_be_replaced(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=name):
        define(**{name: value})


@pytest.mark.parametrize("name", ["converted", "family", "fields", "pytest_generate_tests"])
def test_what_the_standard_tests_use_cannot_be_replaced(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        define(**{name: None})


def test_a_mixin_cannot_replace_one_either() -> None:
    mixin = type("Mixin", (), {"test_logits": lambda self: None})
    with pytest.raises(TypeError, match="test_logits"):
        define(mixin, ConverterConformance)


def test_a_suite_cannot_be_switched_off() -> None:
    with pytest.raises(TypeError, match="__test__"):
        define(__test__=False)
    for mark in (pytest.mark.skip, pytest.mark.skipif(True, reason="x"), pytest.mark.xfail):
        with pytest.raises(TypeError, match=mark.name):
            define(pytestmark=[pytest.mark.usefixtures("capsys"), mark])


@pytest.mark.parametrize("name", STANDARD_TESTS)
def test_a_failure_may_be_expected(name: str) -> None:
    standard = vars(ConverterConformance)[name]
    marks = list(getattr(standard, "pytestmark", []))
    suite = define(**{name: expected_failure(standard, reason="rounds differently")})
    assert getattr(standard, "pytestmark", []) == marks
    assert vars(suite)[name].pytestmark[-1].kwargs == {
        "reason": "rounds differently",
        "strict": True,
    }


def _relaxed(**options: Any) -> Any:
    copy: Any = expected_failure(ConverterConformance.test_logits, reason="x")
    copy.pytestmark = [*copy.pytestmark[:-1], pytest.mark.xfail(**options).mark]
    return copy


@pytest.mark.parametrize(
    "replacement",
    [
        expected_failure(ConverterConformance.test_gradients, reason="another test"),
        _relaxed(reason="not strict"),
        _relaxed(strict=True),
        _relaxed(reason="", strict=True),
        _relaxed(reason="not run", strict=True, run=False),
    ],
)
def test_other_ways_to_expect_a_failure_are_refused(replacement: Any) -> None:
    with pytest.raises(TypeError, match="test_logits"):
        define(test_logits=replacement)


def test_a_failure_needs_a_reason() -> None:
    with pytest.raises(ValueError, match="reason"):
        expected_failure(ConverterConformance.test_logits, reason=" ")


SUITE = """
from forgather_convert.testing import TINY_DECODER, ConverterConformance, expected_failure
from forgather_convert import HFConverter, STANDARD_WEIGHT_MAPPING


class WrongConverter(HFConverter):
    '''Exchanges two matrices of the same shape.'''

    model_type = "llama"

    def get_hf_model_class(self):
        from transformers import LlamaForCausalLM
        return LlamaForCausalLM

    def get_weight_mapping(self, direction):
        swapped = {"gate_proj": "up_proj", "up_proj": "gate_proj"}
        mapping = {}
        for hf, fg in STANDARD_WEIGHT_MAPPING.items():
            for name, other in swapped.items():
                if name in hf:
                    fg = fg.replace(name, other)
                    break
            mapping[hf] = fg
        return mapping


class TestWrong(ConverterConformance):
    converter_class = WrongConverter
    configs = {"plain": TINY_DECODER}

    test_gradients = expected_failure(ConverterConformance.test_gradients, reason="swapped")
    test_tied_embeddings = expected_failure(
        ConverterConformance.test_tied_embeddings, reason="not true"
    )


class NewConverter(HFConverter):
    model_type = "not_there_yet"
    hf_model = "NotThereYetForCausalLM"


class TestNew(ConverterConformance):
    converter_class = NewConverter
    configs = {"plain": TINY_DECODER}
"""


#: Suites for converters whose feed-forward block is wrong in one respect.
FAULTY_SUITES = """
from pathlib import Path

from forgather_convert import HFConverter
from forgather_convert.testing import TINY_DECODER, ConverterConformance


class FaultyConverter(HFConverter):
    model_type = "llama"

    def get_hf_model_class(self):
        from transformers import LlamaForCausalLM
        return LlamaForCausalLM

    def create_project_config(self, src_config, max_length=None):
        project = dict(super().create_project_config(src_config, max_length))
        project["components"] = {
            **project.get("components", {}), "feedforward": f"{self.fault}:GatedFeedforward"
        }
        project["component_paths"] = [Path(__file__).parent / "components"]
        return project
"""
FAULTY_SUITE = """

class Test_{fault}(ConverterConformance):
    converter_class = type("Faulty", (FaultyConverter,), {{"fault": "faulty_{fault}"}})
    configs = {{"plain": TINY_DECODER}}
"""
COMPONENT = Path(components.__path__[0]) / "gated_feedforward.py"
RESULT = "        output: torch.Tensor = self.down_proj(gated)\n"
OTHER = "            output = output * 1.01\n"
#: What is put in the place of what in the component, and the standard tests that find it.
FAULTS: dict[str, tuple[tuple[str, ...], tuple[str, ...], set[str]]] = {
    "decoding": (
        (RESULT,),
        (f"{RESULT}        if hidden_states.shape[1] == 1:\n{OTHER}",),
        {
            "test_logits_of_short_prompts",
            "test_logits_of_cached_decoding",
            "test_greedy_generation",
            # What a user's conversion finds, too.
            "test_conversions_check_themselves",
            "test_config_with_sizes_only",
        },
    ),
    "bfloat16": (
        (RESULT,),
        (f"{RESULT}        if hidden_states.dtype == torch.bfloat16:\n{OTHER}",),
        {
            "test_logits",
            "test_logits_of_short_prompts",
            "test_logits_of_cached_decoding",
            "test_greedy_generation",
            "test_conversions_check_themselves",
            "test_changed_weights_come_back",
            "test_nothing_of_this_project_is_needed",
            "test_save_pretrained",
        },
    ),
    "gradient_and_import": (
        ("self.up_proj(hidden_states)", "import torch\n"),
        ("self.up_proj(hidden_states.detach())", "import forgather_convert\nimport torch\n"),
        {"test_gradients", "test_nothing_of_this_project_is_needed"},
    ),
}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What pytest says about wrong converters, without this repository's configuration."""
    directory = tmp_path_factory.mktemp("vendor")
    (directory / "test_wrong.py").write_text(SUITE)
    (directory / "components").mkdir()
    text = COMPONENT.read_text()
    for fault, (right, wrong, _) in FAULTS.items():
        faulty_text = text
        for part, replacement in zip(right, wrong, strict=True):
            assert text.count(part) == 1
            faulty_text = faulty_text.replace(part, replacement)
        (directory / "components" / f"faulty_{fault}.py").write_text(faulty_text)
    faulty = "".join(FAULTY_SUITE.format(fault=fault) for fault in FAULTS)
    (directory / "test_faulty.py").write_text(FAULTY_SUITES + faulty)
    options = ["-q", "-rA", "-W", "error", "-p", "no:cacheprovider", "--tb=no", "--color=no"]
    process = subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == 1, process.stdout + process.stderr
    return process.stdout


def test_a_wrong_mapping_fails(report: str) -> None:
    lines = report.splitlines()
    for name in ("test_logits", "test_greedy_generation", "test_conversions_check_themselves"):
        found = [line for line in lines if f"::TestWrong::{name}[" in line]
        assert found
        assert [line for line in found if not line.startswith("FAILED")] == []


def test_what_a_wrong_mapping_does_not_touch_passes(report: str) -> None:
    """Without a conftest, and with warnings as errors."""
    for name in ("test_config_without_the_original", "test_an_unknown_rope_type_is_refused"):
        assert f"PASSED test_wrong.py::TestWrong::{name}[plain]" in report


def test_expected_failures_are_reported_and_must_come_true(report: str) -> None:
    lines = report.splitlines()
    assert len([line for line in lines if line.startswith("XFAIL") and "swapped" in line]) == 2
    assert [line for line in lines if line.startswith("FAILED") and "test_tied_embeddings" in line]


def test_a_family_that_transformers_does_not_have_yet_is_skipped_with_the_reason(
    report: str,
) -> None:
    assert "::TestNew::" not in report
    found = [line for line in report.splitlines() if "NotThereYetForCausalLM" in line]
    assert found
    assert [line for line in found if not line.startswith("SKIPPED")] == []


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_by_the_tests_that_are_for_it_and_by_no_other(
    report: str, fault: str
) -> None:
    lines = [line for line in report.splitlines() if f"::Test_{fault}::" in line]
    names = {
        outcome: {line.split("::")[2].partition("[")[0].split()[0] for line in found}
        for outcome in ("FAILED", "PASSED")
        if (found := [line for line in lines if line.startswith(outcome)])
    }
    assert names["FAILED"] == FAULTS[fault][2]
    # A Llama has one form of weights.
    skipped = {"test_what_transformers_has_in_memory_comes_back"}
    assert names["FAILED"] | names["PASSED"] == set(STANDARD_TESTS) - skipped
