"""Token files, chat templates and the files of tokenizers: a valid change, or one clear error."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from forgather_convert.vocabulary.chat_template import read_template
from forgather_convert.vocabulary.token_file import read_token_file
from support.fuzzing import (
    WRONG_VALUES,
    changed_bytes,
    changed_texts,
    changed_values,
    copied,
    outcome,
    refusal_of,
    times,
)
from support.tokenizers import write_byte_level_bpe
from support.vocabulary import (
    EMBEDDING,
    HF_EMBEDDING,
    TEXTS,
    load_tokenizer,
    read_json,
    weights,
    write_model,
)

pytestmark = [pytest.mark.version_independent, pytest.mark.filterwarnings("ignore")]

NAMED = ("bos_token", "eos_token", "pad_token", "unk_token")
TOKENS = st.one_of(
    st.sampled_from(["<pad>", "<a>", "<b>", "<s>", "</s>", "The", " river", "é", "東", "\u200d"]),
    st.text(max_size=4),
)
INITS = st.one_of(
    st.sampled_from(["zero", "mean", "subwords", "odd"]),
    st.fixed_dictionaries({"copy": TOKENS}),
    st.fixed_dictionaries({"average_of": st.lists(TOKENS, max_size=3)}),
)
ENTRIES = st.one_of(
    TOKENS,
    st.fixed_dictionaries({"token": TOKENS}, optional={"init": INITS, "if_missing": st.booleans()}),
)
TOKEN_FILES: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(NAMED, ENTRIES),
        "special_tokens": st.lists(ENTRIES, max_size=3),
        "regular_tokens": st.lists(ENTRIES, max_size=3),
    },
)
#: What YAML has beside JSON.
YAML_PARTS = st.sampled_from(
    [
        "&a",
        "*a",
        "!!binary",
        "!!python/object/apply:os.system [touch mark]",
        "!!set",
        "<<: ",
        "---",
        "? ",
        "- ",
        "\t",
        "%YAML 9.9",
        "|",
        ">",
        "0o7",
        "1_0",
        "2001-99-99",
        "~",
        ".nan",
        "\x85",
    ]
)
JINJA_PARTS = st.sampled_from(
    [
        "{{",
        "}}",
        "{%",
        "%}",
        "{#",
        "#}",
        "{% for i in range(10**12) %}",
        "{% endfor %}",
        "x",
        "\n",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{{ 10**10**10 }}",
        "{{ 'a' * 10**12 }}",
        "{% generation %}",
        "{% endgeneration %}",
        "{% break %}",
        "{% include '/etc/passwd' %}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{% import 'os' as os %}",
        "(" * 2000,
        "{{ messages[0].content }}",
        "{% if true %}",
        "{% endif %}",
        "\x00",
        "\u2028",
        "é",
    ]
)


@st.composite
def token_files(draw: st.DrawFn) -> bytes:
    content: Any = draw(TOKEN_FILES)
    if draw(st.integers(0, 3)) == 0:
        content = draw(st.one_of(changed_values(content), WRONG_VALUES))
    text = yaml.safe_dump(content, allow_unicode=draw(st.booleans()), default_flow_style=None)
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        place = draw(st.integers(0, len(text)))
        text = text[:place] + draw(YAML_PARTS) + text[place:]
    data = text.encode("utf-8", "surrogatepass")
    return draw(changed_bytes(data)) if draw(st.integers(0, 3)) == 0 else data


@times(10, few=5)
@given(data=token_files())
def test_token_files_by_themselves(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "tokens.yaml"
    path.write_bytes(data)
    refusal = refusal_of(lambda: read_token_file(path), tmp_path)
    assert refusal is None or str(path) in refusal


@times(10, few=5)
@given(parts=st.lists(st.one_of(JINJA_PARTS, st.text(max_size=5)), max_size=8))
def test_templates_by_themselves(parts: list[str], tmp_path: Path) -> None:
    path = tmp_path / "chat.jinja"
    path.write_bytes("".join(parts).encode("utf-8", "surrogatepass"))
    refusal = refusal_of(lambda: read_template(path), tmp_path)
    assert refusal is None or str(path) in refusal


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a tokenizer that has no padding token. Not to be changed."""
    directory = tmp_path_factory.mktemp("models") / "model"
    return write_model(directory, write_byte_level_bpe, spare=4)


@given(data=st.data(), by_command=st.booleans())
def test_vocabularies(data: st.DataObject, by_command: bool, model: Path, tmp_path: Path) -> None:
    """Every token that is asked for is one token, and nothing else changes."""
    content = data.draw(TOKEN_FILES)
    with copied(model, tmp_path) as source:
        path = source.with_name("tokens.yaml")
        path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
        result = outcome(source, by_command, token_file=path, logit_check=False)
        if result is None:
            return
        before, after = load_tokenizer(source), load_tokenizer(result)
        for request in read_token_file(path):
            if not request.if_missing:
                ids = after(request.token, add_special_tokens=False)["input_ids"]
                assert request.token in after.get_vocab()
                assert ids == [after.convert_tokens_to_ids(request.token)] or (
                    request.token in before.get_vocab()
                )
        asked = {request.token for request in read_token_file(path)}
        for text in TEXTS:
            if not any(token in text for token in asked):
                assert before.tokenize(text) == after.tokenize(text)
        old, new = weights(source)[HF_EMBEDDING], weights(result)[EMBEDDING]
        assert len(new) == read_json(result / "config.json")["vocab_size"] >= len(after)
        touched = {after.convert_tokens_to_ids(token) for token in asked}
        kept = [row for row in range(len(old)) if row not in touched]
        assert torch.equal(old[kept], new[kept])


@times(1, few=0.5)
@given(parts=st.lists(st.one_of(JINJA_PARTS, st.text(max_size=5)), max_size=8), data=st.data())
def test_a_template_is_stored_and_not_run(
    parts: list[str], data: st.DataObject, model: Path, tmp_path: Path
) -> None:
    """Whether it is given, or is the source's own."""
    text = "".join(parts).encode("utf-8", "replace")
    with copied(model, tmp_path) as source:
        options: dict[str, Any] = {}
        path = source / "chat_template.jinja"
        if data.draw(st.booleans()):
            path = source.with_name("chat.jinja")
            options["chat_template_path"] = path
        path.write_bytes(text)
        # With the padding token that is added, the tokenizer is loaded.
        result = outcome(source, data.draw(st.booleans()), logit_check=False, **options)
        if result is not None:
            assert (result / "chat_template.jinja").read_bytes() == text


FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


@given(data=st.data(), name=st.sampled_from(FILES), by_command=st.booleans())
def test_files_of_a_tokenizer_that_is_extended(
    data: st.DataObject, name: str, by_command: bool, model: Path, tmp_path: Path
) -> None:
    with copied(model, tmp_path) as source:
        path = source / name
        special = {"bos_token": "<s>", "additional_special_tokens": ["</s>"]}
        content = read_json(path) if path.exists() else special if "special" in name else {"a": 9}
        path.write_bytes(data.draw(changed_texts(content)))
        result = outcome(source, by_command, logit_check=False)
        if result is None or read_json(result / "tokenizer_config.json") == content:
            return
        if (result / name).read_bytes() == path.read_bytes():
            return
        # What was edited, transformers loads, and old texts are split as before.
        before, after = load_tokenizer(source), load_tokenizer(result)
        assert [before.tokenize(text) for text in TEXTS] == [after.tokenize(text) for text in TEXTS]
