"""Converts models, and looks at what came out."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers

from forgather_convert import ConvertOptions, convert
from support.models import prompt


def convert_unchecked(source: Path, destination: Path, **options: Any) -> Path:
    """Converts without the logit check: for tests that compare the logits themselves."""
    convert(source, destination, ConvertOptions(logit_check=False, **options))
    return destination


def logits_of(model: Any) -> torch.Tensor:
    """What a model gives for the prompt."""
    with torch.no_grad():
        logits: torch.Tensor = model(prompt()).logits
    return logits


def plain_logits(directory: Path) -> torch.Tensor:
    """What a model gives when it is loaded without any option, as most people do."""
    return logits_of(transformers.AutoModelForCausalLM.from_pretrained(directory).eval())


def read_config(directory: Path) -> dict[str, Any]:
    """The content of ``config.json``."""
    config: dict[str, Any] = json.loads((directory / "config.json").read_text())
    return config


def edit_config(directory: Path, remove: tuple[str, ...] = (), /, **fields: Any) -> None:
    """Sets fields of ``config.json``, and removes others."""
    config = {**read_config(directory), **fields}
    kept = {name: config[name] for name in config if name not in remove}
    (directory / "config.json").write_text(json.dumps(kept))


def assert_rope_is_for_both_transformers(config: dict[str, Any]) -> None:
    """Version 4 of transformers reads the first two fields, version 5 the third, and they agree."""
    parameters = dict(config["rope_parameters"])
    assert config["rope_theta"] == parameters.pop("rope_theta")
    if parameters == {"rope_type": "default"}:
        assert config["rope_scaling"] is None
    else:
        assert config["rope_scaling"] == parameters
