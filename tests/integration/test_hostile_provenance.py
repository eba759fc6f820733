"""forgather_conversion.json is checked before it is believed: anybody may have written it."""

import base64
import json
import lzma
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from forgather_convert import SourceError, convert, plan
from forgather_convert.models import provenance as provenance_module
from support.directories import snapshot
from support.models import random_state, write_hf_model
from support.variants import variant

pytestmark = pytest.mark.version_independent

LLAMA = variant("llama-default")
FILE = "forgather_conversion.json"
INV_FREQ = "model.layers.0.self_attn.rotary_emb.inv_freq"
Content = dict[str, Any]


@pytest.fixture(scope="module")
def forgather_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in two files, with stored frequencies. Not to be changed."""
    root = tmp_path_factory.mktemp("models")
    state = random_state(LLAMA, torch.bfloat16)
    state[INV_FREQ] = torch.rand(8)
    convert(write_hf_model(root / "hf", LLAMA, "bfloat16", state=state, shards=2), root / "fg")
    return root / "fg"


@pytest.fixture
def source(forgather_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(forgather_model, tmp_path / "parent" / "fg"))


def _set(*keys: str | int, to: Any) -> Callable[[Content], None]:
    def change(content: Content) -> None:
        place: Any = content
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = to

    return change


def _rename_header(name: str) -> Callable[[Content], None]:
    """Another name for the first file, in headers and index alike."""

    def change(content: Content) -> None:
        weights = content["weights"]
        old = next(iter(weights["headers"]))
        weights["headers"][name] = weights["headers"].pop(old)
        weights["index_text"] = weights["index_text"].replace(old, name)

    return change


def _edit_first_header(edit: Callable[[Content], None]) -> Callable[[Content], None]:
    def change(content: Content) -> None:
        headers = content["weights"]["headers"]
        name = next(iter(headers))
        header = json.loads(headers[name])
        edit(header)
        headers[name] = json.dumps(header)

    return change


def _edit_index(**fields: Any) -> Callable[[Content], None]:
    def change(content: Content) -> None:
        weights = content["weights"]
        weights["index_text"] = json.dumps({**json.loads(weights["index_text"]), **fields})

    return change


def _edit_config(**fields: Any) -> Callable[[Content], None]:
    def change(content: Content) -> None:
        content["hf_config"] = json.dumps({**json.loads(content["hf_config"]), **fields})

    return change


def _carry_generated(content: Content) -> None:
    content["carried"].append(next(iter(content["generated"])))


def _packed(data: bytes, **options: Any) -> str:
    return base64.b64encode(lzma.compress(data, **options)).decode()


#: Data whose unpacking takes a dictionary of a gigabyte.
_HUNGRY = _packed(bytes(32), filters=[{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 2**30}])


def _store_twice(content: Content) -> None:
    content["weights"]["unread"] *= 2


def _store_much(content: Content) -> None:
    stored = content["weights"]["unread"][0]
    stored.update(shape=[5000], data=_packed(random.Random(0).randbytes(20000)))


def _store_a_bomb(content: Content) -> None:
    """The first kilobytes of what unpacks to a gigabyte."""
    packer, packed = lzma.LZMACompressor(), b""
    while len(packed) < 12_000:
        packed += packer.compress(bytes(2**20))
    data = base64.b64encode(packed[:12_000]).decode()
    content["weights"]["unread"][0].update(shape=[2**28], data=data)


def _claim_a_weight(content: Content) -> None:
    content["weights"]["unread"][0]["names"] = ["model.norm.weight"]


def _without_headers(content: Content) -> None:
    content["weights"]["headers"] = {}


_DEEP = "[" * 50_000 + "]" * 50_000
_SHA = "0" * 64

CHANGES: dict[str, tuple[Callable[[Content], None], str]] = {
    "no tool": (lambda content: content.pop("tool"), "tool"),
    "unknown key": (_set("surprise", to=1), "surprise"),
    "unknown key below": (_set("weights", "surprise", to=1), "surprise"),
    "tool is a list": (_set("tool", to=[]), "tool"),
    "version is a number": (_set("tool", "torch", to=2), "torch"),
    "options of objects": (_set("options", "dtype", to={"a": 1}), "options.dtype"),
    "config is an object": (_set("hf_config", to={}), "hf_config"),
    "config is a list": (_set("hf_config", to="[]"), "hf_config"),
    "config is no JSON": (_set("hf_config", to="{"), "hf_config"),
    "config is deep": (_set("hf_config", to='{"a":' + _DEEP + "}"), "hf_config"),
    "config cannot be": (_edit_config(hidden_size=-1), "hf_config"),
    "config is of strings": (_edit_config(num_hidden_layers="3"), "hf_config"),
    "config of a dtype": (_edit_config(dtype="int4"), "hf_config"),
    "dtypes": (_set("dtypes", to=["int8"]), "dtypes"),
    "weights is a list": (_set("weights", to=[]), "weights"),
    "no headers": (_without_headers, "headers"),
    "header is no text": (_set("weights", "headers", "model.safetensors", to={}), "headers"),
    "header in a parent": (_rename_header("../victim.safetensors"), "headers"),
    "header at the root": (_rename_header("/tmp/victim.safetensors"), "headers"),
    "header of no name": (_rename_header(""), "headers"),
    "header named as the config": (_rename_header("config.json"), "weights files"),
    "header with an escape": (_rename_header("\x1b[2J.safetensors"), "headers"),
    "header too many": (_set("weights", "headers", "b.safetensors", to="{}"), "weights files"),
    "header is no JSON": (
        _set("weights", "headers", "model-00001-of-00002.safetensors", to="x"),
        "model-00001-of-00002.safetensors",
    ),
    "header is deep": (
        _set("weights", "headers", "model-00001-of-00002.safetensors", to=_DEEP),
        "model-00001-of-00002.safetensors",
    ),
    "header of odd dtypes": (
        _edit_first_header(lambda header: header.update(a={"dtype": [], "shape": []})),
        "model-00001-of-00002.safetensors",
    ),
    "header of odd metadata": (
        _edit_first_header(lambda header: header.update(__metadata__={"a": 1})),
        "model-00001-of-00002.safetensors",
    ),
    "header of a list of metadata": (
        _edit_first_header(lambda header: header.update(__metadata__=[1])),
        "model-00001-of-00002.safetensors",
    ),
    "index in a parent": (_set("weights", "index_name", to="../../victim"), "index_name"),
    "index of another name": (_set("weights", "index_name", to="tokenizer.json"), "index_name"),
    "index without text": (_set("weights", "index_text", to=None), "index"),
    "index is no JSON": (_set("weights", "index_text", to="x"), "weights"),
    "index is deep": (_set("weights", "index_text", to=_DEEP), "deep"),
    "index of lists": (_edit_index(weight_map=[1]), "index_text"),
    "index of other places": (
        _edit_index(weight_map={"model.norm.weight": "../victim"}),
        "index_text",
    ),
    "unread is an object": (_set("weights", "unread", to={}), "unread"),
    "no base64": (_set("weights", "unread", 0, "data", to="AAAA!AAA"), "unread.0"),
    "not packed": (_set("weights", "unread", 0, "data", to="AAAA"), "32 bytes"),
    "cut off": (_set("weights", "unread", 0, "data", to=_packed(bytes(32))[:-40]), "32 bytes"),
    "too short": (_set("weights", "unread", 0, "data", to=_packed(bytes(31))), "32 bytes"),
    "too long": (_set("weights", "unread", 0, "data", to=_packed(bytes(33))), "32 bytes"),
    "too much": (_store_much, "unread"),
    "far too much": (_store_a_bomb, "unread"),
    "much memory to unpack": (_set("weights", "unread", 0, "data", to=_HUNGRY), "32 bytes"),
    "another shape": (_set("weights", "unread", 0, "shape", to=[4, 2]), "unread"),
    "negative shape": (_set("weights", "unread", 0, "shape", to=[-2, -4]), "shape"),
    "shape of fractions": (_set("weights", "unread", 0, "shape", to=[8.0]), "shape"),
    "huge shape": (_set("weights", "unread", 0, "shape", to=[2**62] * 8), "unread"),
    "unknown dtype": (_set("weights", "unread", 0, "dtype", to="object"), "dtype"),
    "no names": (_set("weights", "unread", 0, "names", to=[]), "names"),
    "stored twice": (_store_twice, "twice"),
    "a weight as unread": (_claim_a_weight, "model.norm.weight"),
    "generated README": (_set("generated", "README.md", to=_SHA), "README.md"),
    "generated path": (_set("generated", "../x.py", to=_SHA), "../x.py"),
    "generated hash": (_set("generated", "x.py", to="0" * 63 + "G"), "x.py"),
    "generated list": (_set("generated", to=["x.py"]), "generated"),
    "carried path": (_set("carried", to=["a/b"]), "carried"),
    "carried numbers": (_set("carried", to=[1]), "carried"),
    "carried and generated": (_carry_generated, "'carried'"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_one_clear_error(name: str, source: Path, tmp_path: Path) -> None:
    """It names the file, the key and the way out; nothing is written anywhere."""
    change, key = CHANGES[name]
    content = json.loads((source / FILE).read_text())
    change(content)
    (source / FILE).write_text(json.dumps(content))
    before = snapshot(tmp_path)
    with pytest.raises(SourceError) as error:
        convert(source, tmp_path / "parent" / "hf")
    message = str(error.value)
    assert message.startswith(f"{source / FILE} is damaged: ")
    assert key in message
    assert message.endswith("Delete it to convert without the original layout.")
    assert message.isprintable()
    assert len(message) < 600
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "\xff", _DEEP, '{"a":' * 90_000, "NaN"])
def test_what_is_no_json_object(text: str, source: Path) -> None:
    (source / FILE).write_bytes(text.encode("latin-1"))
    with pytest.raises(SourceError, match=r"is damaged: .*Delete it to convert") as error:
        plan(source, source.with_name("hf"))
    assert str(source / FILE) in str(error.value)


def test_a_stored_tensor_never_stands_for_a_weight(source: Path, tmp_path: Path) -> None:
    """Bytes in the provenance do not take the place of what was trained."""
    content = json.loads((source / FILE).read_text())
    header = json.loads(next(iter(content["weights"]["headers"].values())))
    name = next(name for name in header if name.endswith("layernorm.weight"))
    zeros = _packed(bytes(128))
    content["weights"]["unread"].append(
        {"names": [name], "dtype": "bfloat16", "shape": header[name]["shape"], "data": zeros}
    )
    before = plan(source, tmp_path / "hf")
    (source / FILE).write_text(json.dumps(content))
    assert plan(source, tmp_path / "hf").tensors == before.tensors


def test_the_size_is_limited(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing larger is read, whatever it holds."""
    size = (source / FILE).stat().st_size
    monkeypatch.setattr(provenance_module, "MAX_BYTES", size)
    plan(source, source.with_name("hf"))
    monkeypatch.setattr(provenance_module, "MAX_BYTES", size - 1)
    with pytest.raises(SourceError, match="larger than") as error:
        plan(source, source.with_name("hf"))
    assert "Delete it" in str(error.value)


def test_the_limit_holds_for_what_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A layout that could not be read again is not written; the reverse conversion does without."""
    source = write_hf_model(tmp_path / "hf", LLAMA, "bfloat16")
    monkeypatch.setattr(provenance_module, "MAX_BYTES", 5000)
    convert(source, tmp_path / "fg")
    assert (tmp_path / "fg" / FILE).stat().st_size < 5000
    assert json.loads((tmp_path / "fg" / FILE).read_text())["weights"] is None
    convert(tmp_path / "fg", tmp_path / "back")
    assert (tmp_path / "back" / "config.json").read_bytes() == (source / "config.json").read_bytes()


def test_the_limit_is_far_above_what_a_terabyte_needs() -> None:
    entry = (
        '"model.layers.127.mlp.experts.255.down_proj.weight":{"dtype":"BF16","shape":[7168,2048],'
        '"data_offsets":[100000000000,100000000000]},'
    )
    line = (
        '    "model.layers.127.mlp.experts.255.down_proj.weight": '
        '"model-00100-of-00200.safetensors",\n'
    )
    assert 200_000 * (len(json.dumps(entry)) + len(json.dumps(line))) * 2 < (
        provenance_module.MAX_BYTES
    )
