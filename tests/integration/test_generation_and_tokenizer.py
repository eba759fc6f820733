"""What is done with a model's tokenizer: generation, the check's prompt, chat templates."""

import itertools
import json
import logging
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from forgather_convert import ConvertOptions, OptionError, Progress, ValidationError, convert
from forgather_convert.files.plain_text import printable
from forgather_convert.logit_check.prompts import fixed_ids
from support.command import forgather, run_convert
from support.directories import differences
from support.log import logged
from support.models import load_forgather, write_hf_model
from support.tokenizers import write_sentencepiece
from support.transformers_families import a_config
from support.variants import Variant, variant
from support.vocabulary import read_json

LLAMA = variant("llama-default")


TEXT = "The river runs under the old bridge, and the old bridge stands over the river. "


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_hf_model(tmp_path / "hf", LLAMA, dtype="bfloat16")


@pytest.fixture(scope="module")
def model_with_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face model with a small tokenizer of its own. Not to be changed."""
    directory = tmp_path_factory.mktemp("models") / "hf"
    write_hf_model(directory, Variant("llama", "words", {"vocab_size": 320}), dtype="float32")
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        [TEXT] * 5, vocab_size=300, special_tokens=["<pad>", "<s>", "</s>"], show_progress=False
    )
    PreTrainedTokenizerFast(
        tokenizer_object=trained._tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    ).save_pretrained(directory)
    return directory


def test_generation_test_prints_what_the_model_says(
    model_with_tokenizer: Path, tmp_path: Path
) -> None:
    words = "The old bridge"
    result = run_convert("-g", "--prompt", words, model_with_tokenizer, tmp_path / "fg")
    tokenizer = AutoTokenizer.from_pretrained(model_with_tokenizer)
    model = load_forgather(tmp_path / "fg")
    inputs = tokenizer(words, return_tensors="pt")
    output = model.generate(
        inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        max_new_tokens=40,
        do_sample=False,
    )
    expected = tokenizer.decode(output[0], skip_special_tokens=True)
    assert result.stdout == f"Generation test: {printable(expected)}\n"


def test_generation_test_without_tokenizer(source: Path, tmp_path: Path) -> None:
    result = run_convert("-g", "--json", source, tmp_path / "fg")
    ids = json.loads(result.stdout)["generation"]["token_ids"]
    assert ids
    assert all(0 <= number < 160 for number in ids)


class _Texts(Progress):
    """Keeps what is told of the generated text."""

    def __init__(self) -> None:
        self.told: dict[str, list[str]] = {}

    def generated(self, model: str, text: str, tokens_per_second: float) -> None:
        assert tokens_per_second >= 0
        self.told.setdefault(model, []).append(text)


def greedy(directory: Path, text: str, dtype: torch.dtype, **options: Any) -> list[int]:
    """How a Hugging Face model goes on after a text, without this tool."""
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=dtype)
    ids = tokenizer(text, return_tensors="pt", **options)["input_ids"]
    mask = torch.ones_like(ids)
    output = model.generate(ids, attention_mask=mask, max_new_tokens=40, do_sample=False)
    return [int(token) for token in output[0, ids.shape[1] :]]


def test_both_models_continue_the_prompt_and_their_texts_are_streamed(
    model_with_tokenizer: Path, tmp_path: Path
) -> None:
    """With a cast they need not say the same."""
    words, texts = "The old bridge", _Texts()
    options = ConvertOptions(
        generation_test=True, prompt=words, dtype="bfloat16", logit_check=False
    )
    found = convert(model_with_tokenizer, tmp_path / "fg", options, progress=texts).generation
    assert found is not None
    for name, one, dtype in (
        ("result", found.result, torch.bfloat16),
        ("source", found.source, torch.float32),
    ):
        assert list(one.token_ids) == greedy(model_with_tokenizer, words, dtype)
        assert texts.told[name][-1] == f"{words}{one.text}"
        assert len(set(texts.told[name])) > 3
        for before, after in itertools.pairwise(texts.told[name]):
            assert after.startswith(before)
    assert found.result.token_ids != found.source.token_ids


def test_experts_that_are_merged_on_loading_generate(tmp_path: Path) -> None:
    """In both directions: the Hugging Face model has parameters that no file holds."""
    hf, fg, back = (tmp_path / name for name in ("hf", "fg", "back"))
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(a_config("mixtral")).eval()
    model.save_pretrained(hf)
    ids = torch.tensor([fixed_ids(range(model.config.vocab_size))])
    output = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=40)
    expected = tuple(output[0, ids.shape[1] :].tolist())
    assert len(set(expected)) > 1
    for source, destination in ((hf, fg), (fg, back)):
        options = ConvertOptions(generation_test=True, logit_check=False)
        found = convert(source, destination, options).generation
        assert found is not None
        assert found.source.token_ids == found.result.token_ids == expected


def test_the_source_is_told_beside_the_result(model_with_tokenizer: Path, tmp_path: Path) -> None:
    same = run_convert("-g", "--json", model_with_tokenizer, tmp_path / "same")
    assert re.search(
        r"^Generated \d+ tokens at [\d.]+ tokens/s; .* generates the same tokens$",
        same.stderr,
        re.M,
    )
    content = json.loads(same.stdout)["generation"]
    assert content["source"]["token_ids"] == content["token_ids"]
    assert content["tokens_per_second"] > 0
    cast = run_convert(
        "-g", "--json", "--dtype", "bfloat16", model_with_tokenizer, tmp_path / "cast"
    )
    assert "; the source generates other tokens: " in cast.stderr


def test_a_model_that_prefers_beams_continues_greedily(
    model_with_tokenizer: Path, tmp_path: Path
) -> None:
    source = tmp_path / "hf"
    shutil.copytree(model_with_tokenizer, source)
    path = source / "generation_config.json"
    path.write_text(json.dumps({**read_json(path), "num_beams": 3}))
    run_convert("-g", "--no-logit-check", source, tmp_path / "fg")


def test_chat_gives_the_prompt_as_a_message(model_with_tokenizer: Path, tmp_path: Path) -> None:
    template = tmp_path / "chat.jinja"
    template.write_text(
        "{{ bos_token }}{% for message in messages %}the {{ message.content }}{% endfor %}"
        "{% if add_generation_prompt %} stands{% endif %}"
    )
    arguments = ("-g", "--chat", "--prompt", "river", "-t", template, model_with_tokenizer)
    report = tmp_path / "report.json"
    result = run_convert("--report", report, *arguments, tmp_path / "fg")
    ids = greedy(
        model_with_tokenizer, "<s>the river stands", torch.float32, add_special_tokens=False
    )
    answer = AutoTokenizer.from_pretrained(tmp_path / "fg").decode(ids, skip_special_tokens=True)
    assert result.stdout == f"Generation test: river\n{printable(answer)}\n"
    generation = json.loads(report.read_text())["generation"]
    assert generation["token_ids"] == generation["source"]["token_ids"] == ids
    assert (generation["prompt"], generation["chat"]) == ("river", True)


def test_chat_without_a_template_is_an_error(model_with_tokenizer: Path, tmp_path: Path) -> None:
    options = ConvertOptions(generation_test=True, chat=True, logit_check=False)
    with pytest.raises(ValidationError, match=r"no chat template.* --chat-template-path"):
        convert(model_with_tokenizer, tmp_path / "fg", options)
    assert not (tmp_path / "fg").exists()


def test_chat_is_of_the_generation_test() -> None:
    with pytest.raises(OptionError, match="Add --generation-test"):
        ConvertOptions(chat=True)
    failed = forgather("convert", "--chat", "hf", "fg")
    assert failed.returncode == 2
    assert "--chat needs --generation-test" in failed.stderr


def test_logit_check_runs_on_the_prompt(model_with_tokenizer: Path, tmp_path: Path) -> None:
    options = ConvertOptions(prompt="river")
    result = convert(model_with_tokenizer, tmp_path / "fg", options)
    tokenizer = AutoTokenizer.from_pretrained(model_with_tokenizer)
    assert result.logits is not None
    length = len(tokenizer("river")["input_ids"])
    assert result.logits.runs[0].startswith(f"the prompt ({length} tokens)")


def test_tokenizer_is_taken_along(model_with_tokenizer: Path, tmp_path: Path) -> None:
    """To the byte, in both directions."""
    options = ConvertOptions(skip_default_tokens=True)
    convert(model_with_tokenizer, tmp_path / "fg", options)
    convert(tmp_path / "fg", tmp_path / "back", options)
    content = (model_with_tokenizer / "tokenizer.json").read_bytes()
    assert (tmp_path / "fg" / "tokenizer.json").read_bytes() == content
    assert differences(model_with_tokenizer, tmp_path / "back") == []


def test_the_tokenizer_needs_no_trust(model_with_tokenizer: Path, tmp_path: Path) -> None:
    """The advice for those whom transformers 5 asks about the model's code."""
    convert(model_with_tokenizer, tmp_path / "fg", ConvertOptions(skip_default_tokens=True))
    expected = AutoTokenizer.from_pretrained(model_with_tokenizer)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "fg", trust_remote_code=False)
    assert tokenizer(TEXT)["input_ids"] == expected(TEXT)["input_ids"]


def test_a_tokenizer_that_the_model_type_selects(tmp_path: Path) -> None:
    """Equal ids or a warning, and what the docs advise then."""
    prompt = "  Two  spaces"
    source = write_hf_model(tmp_path / "hf", Variant("mistral", "words", {"vocab_size": 32000}))
    write_sentencepiece(source)
    options = ConvertOptions(skip_default_tokens=True, prompt=prompt)
    with logged(level=logging.WARNING) as messages:
        convert(source, tmp_path / "fg", options)
    expected = AutoTokenizer.from_pretrained(source)
    ids = expected(prompt)["input_ids"]

    def result_ids() -> object:
        result = AutoTokenizer.from_pretrained(tmp_path / "fg", trust_remote_code=False)
        return result(prompt)["input_ids"]

    is_reported = any("split the prompt differently" in message for message in messages)
    assert is_reported == (result_ids() != ids)
    path = tmp_path / "fg" / "tokenizer_config.json"
    path.write_text(json.dumps({**read_json(path), "tokenizer_class": type(expected).__name__}))
    assert result_ids() == ids


@pytest.mark.parametrize("place", ["tokenizer_config.json", "chat_template.jinja", "none"])
def test_chat_template_is_stored_as_the_source_stored_its_own(
    model_with_tokenizer: Path, tmp_path: Path, place: str
) -> None:
    source = tmp_path / "hf"
    shutil.copytree(model_with_tokenizer, source)
    if place == "tokenizer_config.json":
        config = read_json(source / place)
        (source / place).write_text(json.dumps({**config, "chat_template": "old"}))
    elif place == "chat_template.jinja":
        (source / place).write_text("old")
    template = tmp_path / "new.jinja"
    template.write_text("{% for message in messages %}<{{ message.content }}>{% endfor %}")
    convert(source, tmp_path / "fg", ConvertOptions(chat_template_path=template))

    in_config = "chat_template" in read_json(tmp_path / "fg" / "tokenizer_config.json")
    assert in_config == (place == "tokenizer_config.json")
    assert (tmp_path / "fg" / "chat_template.jinja").exists() != in_config
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "fg")
    messages = [{"role": "user", "content": "river"}]
    assert tokenizer.apply_chat_template(messages, tokenize=False) == "<river>"


def test_chat_template_option(model_with_tokenizer: Path, tmp_path: Path) -> None:
    template = tmp_path / "new.jinja"
    template.write_text("{{ messages[0].content }}\n")
    run_convert("-t", template, "--no-logit-check", model_with_tokenizer, tmp_path / "fg")
    stored = tmp_path / "fg" / "chat_template.jinja"
    assert stored.read_bytes() == template.read_bytes()
