"""The report of a conversion."""

import hashlib
import json
import math
import re
import shutil
import subprocess
from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from forgather_convert import ConversionResult, ConvertOptions, api, convert, write_report
from forgather_convert.execution.commit import commit
from support.command import forgather, run_convert
from support.converting import edit_config
from support.models import write_hf_model
from support.variants import variant

pytestmark = pytest.mark.version_independent

ATTACK = "</code></title><script>alert(1)</script><img src=http://example.org/x onerror=alert(1)>"
#: It would turn the direction of what follows.
TURNED = "turned\u202e"
_VOID = {"meta"}
_BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose names would be markup, if they were let."""
    directory = tmp_path_factory.mktemp("models") / "<b>hf & <i>"
    write_hf_model(directory, variant("llama-default"), dtype="float32")
    (directory / "<script>alert(2)<&script>.txt").write_text("carried along")
    edit_config(directory, **{ATTACK: ATTACK, TURNED: [1, "\x1b[31m"]})
    return directory


@pytest.fixture(scope="module")
def result(source: Path, tmp_path_factory: pytest.TempPathFactory) -> ConversionResult:
    destination = tmp_path_factory.mktemp("result") / "fg"
    return convert(source, destination, ConvertOptions(dtype="bfloat16", hashes=True))


@pytest.fixture(scope="module")
def page(result: ConversionResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reports") / "report.html"
    write_report(result, path, [ATTACK])
    return path


class _Page(HTMLParser):
    """Takes a page apart; what is not well-formed fails."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_page_is_well_formed_and_loads_nothing(page: Path) -> None:
    text = page.read_text()
    found = _Page(text)
    assert {"svg", "rect", "table"} <= set(found.tags)
    assert not {"script", "img", "link", "iframe", "object", "b", "i"} & set(found.tags)
    assert not {name for name in found.attributes if name in ("src", "href") or name[:2] == "on"}
    style = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert len(style) == 1
    assert "url(" not in style[0]
    assert "@import" not in style[0]
    for words in ("prefers-color-scheme: dark", "@media print", "@media (max-width"):
        assert words in style[0]


def test_names_of_the_source_are_text(page: Path, source: Path) -> None:
    text = _Page(page.read_text()).text
    assert f"Conversion of {source.name}" in text
    assert f"{ATTACK} = {json.dumps(ATTACK)}" in text
    assert f"Warning: {ATTACK}" in text
    assert "<script>alert(2)<&script>.txt" in text
    assert r"turned\u202e = [1, " in text
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e]", text)


def test_page_says_what_was_converted(page: Path, result: ConversionResult) -> None:
    text = _Page(page.read_text()).text
    assert result.hashes is not None
    assert result.logits is not None
    assert result.logits.cast is not None
    for name, digest in result.hashes.items():
        assert name in text
        assert digest in text
    for words in (
        "logits bit-identical to those of the source cast to bfloat16. Configs agree.",
        "Hugging Face to Forgather",
        result.plan.converter,
        "causal_lm.layer_stack.layers.{0..2}.attention.query_linear.weight",
        "model.layers.{0..2}.self_attn.q_proj.weight",
        'model_type = "forgather-dynamic-causal-llama"',
        f"{result.logits.cast.result.max_difference:.3g}",
        f"{sum(math.prod(tensor.shape) for tensor in result.plan.tensors):,} parameters",
        "cast float32 to bfloat16",
        'dtype = "float32"dtype = "bfloat16"changed',
        " UTC",
        f"layer 2: {dict(result.logits.cast.layers)[2]:.3g}",
    ):
        assert words in text
    # A published page does not tell where it was made.
    assert str(result.plan.source.parent) not in page.read_text()
    assert str(result.plan.destination.parent) not in page.read_text()


def test_json_has_the_same_content(result: ConversionResult, tmp_path: Path) -> None:
    write_report(result, tmp_path / "new" / "report.json", ["careful"])
    content: dict[str, Any] = json.loads((tmp_path / "new" / "report.json").read_text())
    assert content["hashes"] == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in result.plan.destination.iterdir()
    }
    assert content["warnings"] == ["careful"]
    assert set(content["versions"]) >= {"forgather-convert", "torch", "transformers", "python"}
    tensors = result.plan.tensors
    assert sum(row["count"] for row in content["tensors"]) == len(tensors) == 30
    assert len(content["tensors"]) == 12
    sizes = content["components"]
    assert set(sizes) == {"embedding", "attention", "feed-forward", "norms", "head"}
    assert sum(size["bytes"] for size in sizes.values()) == sum(it.num_bytes for it in tensors)
    assert sum(size["parameters"] for size in sizes.values()) == content["parameters"]
    assert {row["operation"] for row in content["tensors"]} == {"cast float32 to bfloat16"}
    age = datetime.now(timezone.utc) - datetime.fromisoformat(content["date"])
    assert timedelta() <= age + timedelta(seconds=1) < timedelta(hours=1)
    fields = {field["source"]: field for field in content["config"]}
    assert fields["dtype"] == {
        "source": "dtype",
        "source_value": "float32",
        "destination": "dtype",
        "value": "bfloat16",
        "changed": True,
    }
    assert not fields["hidden_size"]["changed"]
    added = {field["destination"] for field in content["config"] if field["source"] is None}
    assert "hf_model_type" in added
    cast = content["logits"]["cast"]["result"]
    counted = sum(count for _, count in cast["difference_counts"])
    assert counted == cast["num_positions"] * 160
    layers = content["logits"]["cast"]["layers"]
    assert [number for number, _ in layers] == [0, 1, 2]
    assert all(0 < difference < 0.1 for _, difference in layers)
    largest = cast["difference_counts"][-1][0]
    assert largest / 2 <= cast["max_difference"] < largest


@pytest.mark.skipif(_BROWSER is None, reason="no Chromium is installed")
def test_a_browser_has_nothing_to_complain_of(page: Path, tmp_path: Path) -> None:
    assert _BROWSER is not None
    command = [_BROWSER, "--headless", "--disable-gpu", "--no-sandbox", "--enable-logging=stderr"]
    command += [f"--user-data-dir={tmp_path}", "--dump-dom", page.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in shown.stderr
    assert "What was converted" in shown.stdout


def test_option_replaces_a_file_and_leaves_nothing_beside_it(source: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    report.write_text("old")
    run_convert("--no-logit-check", "--report", report, source, tmp_path / "fg")
    run_convert(
        "--no-logit-check", "--report", tmp_path / "r.html", tmp_path / "fg", tmp_path / "hf"
    )
    content = json.loads(report.read_text())
    assert content["hashes"].keys() == {path.name for path in (tmp_path / "fg").iterdir()}
    assert content["logits"] is None
    text = _Page((tmp_path / "r.html").read_text()).text
    assert "Not verified: the logit check was skipped (--no-logit-check). Configs agree." in text
    assert "Forgather to Hugging Face" in text
    assert {path.name for path in tmp_path.iterdir()} == {"report.json", "r.html", "fg", "hf"}


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("report.txt", "must be a file .html or .json"),
        ("fg.html", "collides with the model"),
        ("fg.html/report.html", "collides with the model"),
        ("models/report.html", "collides with the model"),
        ("linked/report.html", "collides with the model"),
        ("directory.html", "is not a regular file"),
        ("link.html", "is not a regular file"),
        ("file/report.html", "not a writable directory"),
        ("x" * 300 + ".html", "name too long"),
    ],
)
def test_places_that_are_refused_before_the_work(place: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "linked").symlink_to("models")
    (tmp_path / "directory.html").mkdir()
    (tmp_path / "link.html").symlink_to("models")
    (tmp_path / "file").write_text("")
    before = sorted(tmp_path.rglob("*"))
    failed = forgather(
        "convert", "--report", tmp_path / place, tmp_path / "models", tmp_path / "fg.html"
    )
    assert failed.returncode == 1
    assert words in failed.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_a_plan_has_no_report(tmp_path: Path) -> None:
    failed = forgather("convert", "--dry-run", "--report", "r.html", tmp_path, tmp_path / "fg")
    assert failed.returncode == 2
    assert "--report and --dry-run exclude each other" in failed.stderr


def test_report_that_cannot_be_written_does_not_deny_the_result(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def commit_and_get_in_the_way(*arguments: Any) -> None:
        commit(*arguments)
        (tmp_path / "reports").write_text("")

    monkeypatch.setattr(api, "commit", commit_and_get_in_the_way)
    report, destination = tmp_path / "reports" / "report.html", tmp_path / "fg"
    failed = forgather("convert", "--no-logit-check", "--report", report, source, destination)
    assert failed.returncode == 1
    assert f"The result is complete at {destination}, but a later step failed" in failed.stderr
    assert "not a writable directory" in failed.stderr
    assert (destination / "config.json").is_file()
