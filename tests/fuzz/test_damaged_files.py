"""Files of a model with wrong values and wrong bytes: a right result, or one clear error."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forgather_convert import convert
from support.converting import convert_unchecked
from support.directories import differences
from support.fuzzing import changed_bytes, changed_texts, copied, outcome, times
from support.models import write_hf_model
from support.tokenizer_files import write_tokenizer
from support.variants import variant

pytestmark = [
    pytest.mark.version_independent,
    # transformers warns about what it reads.
    pytest.mark.filterwarnings("ignore"),
]

LLAMA = variant("llama-yarn")
TEXTS = (
    "generation_config.json",
    "tokenizer_config.json",
    "tokenizer.json",
    "added_tokens.json",
    "special_tokens_map.json",
)


@pytest.fixture(scope="module")
def hugging_face(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in two files. Not to be changed."""
    directory = write_hf_model(tmp_path_factory.mktemp("hf") / "model", LLAMA, shards=2)
    write_tokenizer(directory)
    return directory


@pytest.fixture(scope="module")
def forgather(hugging_face: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a Forgather model. Not to be changed."""
    directory = tmp_path_factory.mktemp("fg") / "model"
    convert(hugging_face, directory)
    return directory


@times(2)
@given(data=st.data(), name=st.sampled_from(TEXTS))
def test_files_beside_the_weights(
    data: st.DataObject, name: str, hugging_face: Path, tmp_path: Path
) -> None:
    with copied(hugging_face, tmp_path) as source:
        path = source / name
        path.write_bytes(data.draw(changed_texts(json.loads(path.read_text()))))
        result = outcome(source, logit_check=False, skip_default_tokens=True)
        if result is not None:
            back = convert_unchecked(result, source.with_name("back"))
            assert differences(source, back) == []


@times(2)
@given(data=st.data())
def test_index(data: st.DataObject, hugging_face: Path, tmp_path: Path) -> None:
    with copied(hugging_face, tmp_path) as source:
        path = source / "model.safetensors.index.json"
        path.write_bytes(data.draw(changed_texts(json.loads(path.read_text()))))
        outcome(source, logit_check=False)


@times(2)
@given(data=st.data())
def test_provenance(data: st.DataObject, forgather: Path, tmp_path: Path) -> None:
    with copied(forgather, tmp_path) as source:
        path = source / "forgather_conversion.json"
        path.write_bytes(data.draw(changed_texts(json.loads(path.read_text()))))
        outcome(source, logit_check=False)


@given(data=st.data())
def test_generated_code(data: st.DataObject, forgather: Path, tmp_path: Path) -> None:
    """It is not run, whatever is in it: a mark would be left."""
    with copied(forgather, tmp_path) as source:
        path = data.draw(st.sampled_from(sorted(source.glob("*.py"))))
        mark = source.parent / "mark"
        text = path.read_bytes()
        place = data.draw(st.integers(0, text.count(b"\n")))
        lines = data.draw(st.one_of(st.just(text), changed_bytes(text))).split(b"\n")
        lines.insert(place, f"open({str(mark)!r}, 'w')".encode())
        path.write_bytes(b"\n".join(lines))
        outcome(source, logit_check=data.draw(st.booleans()))
        assert not mark.exists()
