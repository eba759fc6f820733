"""Settings of the framework's own models are dropped with a word; a family's fields never."""

import json
from pathlib import Path
from typing import Any

import pytest

from forgather_convert import ConvertOptions, convert
from forgather_convert.source.config_file import SourceConfig
from forgather_convert.source.legacy import normalize_config
from support.log import logged
from support.models import write_hf_model
from support.old_dialect import OldDialect, write_old_model
from support.variants import variant

LLAMA = variant("llama-default")
FIELDS = {
    "residual_dropout": 0.25,
    "embedding_dropout": 0.5,
    "layer_dropout": 0.0,
    "activation_dropout": 0.125,
    "code_generator": "by hand",
    "checkpoint_stride": 2,
}
WITHOUT_CHECK = ConvertOptions(logit_check=False)


def _config(directory: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((directory / "config.json").read_text())
    return config


@pytest.mark.parametrize("has_provenance", [True, False])
def test_fields_of_a_family_are_kept(has_provenance: bool, tmp_path: Path) -> None:
    """Hyper-parameters may be called so, and our own models have none of the settings."""
    source = write_hf_model(tmp_path / "hf", LLAMA, config={**LLAMA.config(), **FIELDS})
    convert(source, tmp_path / "fg", WITHOUT_CHECK)
    if not has_provenance:
        (tmp_path / "fg" / "forgather_conversion.json").unlink()
    with logged(level=30) as messages:
        convert(tmp_path / "fg", tmp_path / "back", WITHOUT_CHECK)
    config = _config(tmp_path / "back")
    assert {name: config.get(name) for name in FIELDS} == FIELDS
    assert not [text for text in messages if "dropout" in text]


@pytest.mark.parametrize("layer_dropout", [0.0, 0.1])
def test_a_dropout_of_the_framework_is_not_dropped_in_silence(
    layer_dropout: float, tmp_path: Path
) -> None:
    hf = write_hf_model(tmp_path / "hf", LLAMA)
    convert(hf, tmp_path / "fg", WITHOUT_CHECK)
    source = write_old_model(tmp_path / "old", tmp_path / "fg", OldDialect("old"))
    path = source / "config.json"
    path.write_text(json.dumps({**_config(source), "layer_dropout": layer_dropout}))
    with logged(level=30) as messages:
        convert(source, tmp_path / "back", WITHOUT_CHECK)
    config = _config(tmp_path / "back")
    assert not {*FIELDS} & {*config}
    said = [text for text in messages if "layer_dropout 0.1" in text]
    assert len(said) == (1 if layer_dropout else 0)
    assert not [text for text in messages if "residual_dropout" in text]


@pytest.mark.parametrize(
    ("fields", "is_dropped"),
    [
        ({"architectures": ["DynamicCasualLM"]}, True),
        ({"architectures": ["DynamicCausalLM"], "code_generator": "meta"}, False),
        ({"code_generator": "meta"}, True),
        ({"architectures": None, "code_generator": "meta"}, True),
        ({}, False),
    ],
)
def test_who_wrote_a_config(fields: dict[str, Any], is_dropped: bool) -> None:
    config = SourceConfig({**fields, "residual_dropout": 0.0})
    assert ("residual_dropout" not in normalize_config(config, {})) == is_dropped
    assert "residual_dropout" in normalize_config(config, {}, ("residual_dropout",))
