"""What goes wrong where weights are not just copied: formats, types, vocabularies, adapters."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from forgather_convert import ConvertOptions, convert
from support.fault_matrix import FaultMatrix
from support.fault_selection import IS_COMPLETE, all_faults, kinds_of, one_fault
from support.faults import Conversions, planned_command
from support.models import write_hf_model
from support.variants import Variant

pytestmark = pytest.mark.version_independent

_SMALL = Variant("llama", "small", {"num_hidden_layers": 1})
_TOKENS = "pad_token: {token: '<fill>', init: mean}\n"


@dataclass(frozen=True)
class Kind:
    """A conversion.

    Attributes:
        arguments: The command's.
        options: The same, as fields of ``ConvertOptions``.
        source: The name of its source.
    """

    arguments: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    source: str = "hf"


KINDS: dict[str, Callable[[Path], Kind]] = {
    "pytorch": lambda models: Kind(("--format", "pytorch"), {"weights_format": "pytorch"}),
    "pytorch, computed": lambda models: Kind(
        ("--format", "pytorch", "--dtype", "float16"),
        {"weights_format": "pytorch", "dtype": "float16"},
    ),
    "dtype": lambda models: Kind(("--dtype", "float16"), {"dtype": "float16"}),
    "tokens": lambda models: Kind(
        ("--add-tokens", str(models / "tokens.yaml")),
        {"token_file": models / "tokens.yaml"},
        source="with tokenizer",
    ),
    "adapter": lambda models: Kind(
        ("--base", str(models / "hf")), {"base": models / "hf"}, source="adapter"
    ),
    "adapter back": lambda models: Kind(
        ("--base", str(models / "fg")), {"base": models / "fg"}, source="fg adapter"
    ),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in both formats, an adapter likewise, a model with a tokenizer, and tokens."""
    root = tmp_path_factory.mktemp("models")
    unchecked = ConvertOptions(logit_check=False)
    convert(write_hf_model(root / "hf", _SMALL, dtype="bfloat16"), root / "fg", unchecked)
    _write_adapter(root / "adapter")
    convert(
        root / "adapter",
        root / "fg adapter",
        ConvertOptions(base=root / "hf", logit_check=False),
    )
    from support.tokenizers import write_byte_level_bpe
    from support.vocabulary import write_model

    write_model(root / "with tokenizer", write_byte_level_bpe)
    (root / "tokens.yaml").write_text(_TOKENS)
    return root


def _write_adapter(directory: Path) -> None:
    directory.mkdir()
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "base",
        "r": 2,
        "lora_alpha": 4,
        "bias": "none",
        "target_modules": ["q_proj"],
    }
    (directory / "adapter_config.json").write_text(json.dumps(config))
    layer = "base_model.model.model.layers.0.self_attn.q_proj"
    tensors = {
        f"{layer}.lora_A.weight": torch.full((2, 64), 0.5),
        f"{layer}.lora_B.weight": torch.full((64, 2), 0.25),
    }
    save_file(tensors, directory / "adapter_model.safetensors", metadata={"format": "pt"})


@pytest.fixture(scope="module")
def conversions() -> Iterator[Conversions]:
    with Conversions() as process:
        yield process


@pytest.mark.parametrize("kind", KINDS)
def test_fault_before_every_operation(
    models: Path,
    conversions: Conversions,
    tmp_path: Path,
    kind: str,
    request: pytest.FixtureRequest,
) -> None:
    conversion = KINDS[kind](models)
    root = tmp_path / "root"
    source = shutil.copytree(models / conversion.source, root / "source")
    command = planned_command(
        source,
        root / "place" / "out",
        *conversion.arguments,
        root=root,
        plan_file=tmp_path / "plan",
        **conversion.options,
    )
    matrix = FaultMatrix(conversions, command, root / "place" / "out", [source, models])
    if IS_COMPLETE:
        matrix.try_faults(all_faults(matrix.operations))
    else:
        # Where the rest of a conversion begins, and ends, is as for those that copy.
        written = [kind for kind in kinds_of(matrix.operations) if "execute" in kind[0].place]
        matrix.try_faults(
            one_fault(alike[-1], turn) for turn, alike in enumerate(written) if turn % 2
        )
    # Seen with -rP.
    request.node.add_report_section("call", "faults", str(dict(matrix.counts)))
    assert not matrix.problems, "\n\n".join(matrix.problems)
