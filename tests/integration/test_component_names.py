"""No component takes the place of another, or of anything in the generated model."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from forgather_convert import ConverterError
from forgather_convert.dynamic_model.code_generator import GeneratedCode, generate_code
from forgather_convert.dynamic_model.loading import load_generated_code
from forgather_convert.dynamic_model.project import Project
from support.models import load_forgather, prompt
from support.variants import variant

NORM = """\
from torch.nn import LayerNorm


class Vendor(LayerNorm):
    whose = "vendor"

    def __init__(self, size, eps):
        LayerNorm.__init__(self, size, eps=eps, bias=False)

    def forward(self, hidden_states):
        return hidden_states


class {name}(Vendor):
    pass
"""
QK_NORM = {"attention": "qk_norm_attention:QKNormAttention"}


def project(
    directory: Path, files: Mapping[str, str], components: Mapping[str, str], **config: Any
) -> Project:
    """A small model with a vendor's components."""
    directory.mkdir(exist_ok=True)
    for name, text in files.items():
        (directory / f"{name}.py").write_text(text)
    fields = {**variant("llama-default").config(), "head_dim": 16, **config}
    for name in ("architectures", "model_type"):
        del fields[name]
    for name in ("attention_bias", "mlp_bias"):
        fields.setdefault(name, False)
    fields.setdefault("sliding_window", None)
    return Project("vendor", fields, components, [directory])


def build(code: GeneratedCode) -> tuple[Any, ModuleType]:
    """A model of the generated code, and the module that it is in."""
    classes = load_generated_code(code)
    model = classes.model_class(classes.config_class())
    return model, sys.modules[classes.model_class.__module__]


def kinds(model: Any, name: str) -> dict[str, bool]:
    """Which modules of a class name are the vendor's."""
    return {
        path.rpartition(".")[2]: hasattr(module, "whose")
        for path, module in model.named_modules()
        if type(module).__name__ == name
    }


def lint(directory: Path, code: GeneratedCode) -> None:
    for name, text in code.files.items():
        (directory / name).write_text(text)
    for arguments in (["format", "--check"], ["check", "--select", "E,F,W,I"]):
        command = [sys.executable, "-m", "ruff", *arguments, "--isolated", "--line-length", "100"]
        result = subprocess.run(
            [*command, "--no-cache", directory], capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stdout


ATTENTION = """\
from .causal_attention import CausalAttention
from .rms_norm import RMSNorm


class VendorAttention(CausalAttention):
    def __init__(self, config, layer_idx):
        super().__init__(config, layer_idx)
        self.q_norm = RMSNorm(self.head_dim, eps=1e-5)
"""


def test_classes_of_the_same_name_are_both_there(tmp_path: Path) -> None:
    """The vendor's norm between the layers, and core's where a component imports it."""
    files = {"my_norm": NORM.format(name="RMSNorm"), "vendor_attention": ATTENTION}
    components = {"attention": "vendor_attention:VendorAttention", "norm": "my_norm:RMSNorm"}
    code = generate_code(project(tmp_path / "in", files, components))
    model, _ = build(code)
    assert kinds(model, "RMSNorm") == {
        "norm1": True,
        "norm2": True,
        "layer_norm": True,
        "q_norm": False,
    }


def test_a_norm_that_a_component_makes_is_the_models(tmp_path: Path) -> None:
    files = {"my_norm": NORM.format(name="MyNorm")}
    components = {**QK_NORM, "norm": "my_norm:MyNorm"}
    model, _ = build(generate_code(project(tmp_path / "in", files, components)))
    assert kinds(model, "MyNorm") == dict.fromkeys(
        ("norm1", "norm2", "layer_norm", "q_norm", "k_norm"), True
    )


def test_files_of_the_same_name_are_both_there(tmp_path: Path) -> None:
    """The vendor's file is called as one that core's head imports."""
    files = {"linear_head": NORM.format(name="LinearHead")}
    components = {"head": "softcapped_head:SoftcappedHead", "norm": "linear_head:LinearHead"}
    code = generate_code(project(tmp_path / "in", files, components, final_logit_softcapping=30.0))
    assert len([name for name in code.files if name.startswith("linear_head_")]) == 2
    model, _ = build(code)
    assert kinds(model, "LinearHead") == {"norm1": True, "norm2": True, "layer_norm": True}
    assert model(prompt()).logits.abs().max() < 30.0
    (tmp_path / "out").mkdir()
    lint(tmp_path / "out", code)


def test_a_file_that_no_role_names_replaces_nothing(tmp_path: Path) -> None:
    files = {"rms_norm": NORM.format(name="RMSNorm"), "attention_masks": "raise SystemExit\n"}
    code = generate_code(project(tmp_path / "in", files, QK_NORM))
    assert set(kinds(build(code)[0], "RMSNorm").values()) == {False}
    assert "SystemExit" not in "".join(code.files.values())


def test_a_component_imports_its_neighbours_before_those_of_core(tmp_path: Path) -> None:
    """And its own module's name means core's, which it extends."""
    files = {
        "vendor_attention": ATTENTION,
        "rms_norm": "from .rms_norm import RMSNorm as Core\n\n\n"
        "class RMSNorm(Core):\n    whose = 'vendor'\n",
    }
    code = generate_code(
        project(tmp_path / "in", files, {"attention": "vendor_attention:VendorAttention"})
    )
    found = kinds(build(code)[0], "RMSNorm")
    assert found == {"norm1": False, "norm2": False, "layer_norm": False, "q_norm": True}


RESERVED = [
    "DynamicCausalLM",
    "DynamicCausalModel",
    "DynamicCausalLMConfig",
    "DynamicPreTrainedModel",
    "PreTrainedModel",
    "GenerationMixin",
    "DynamicCache",
    "CausalLMOutputWithPast",
    "Any",
    "nn",
    "torch",
    "build_model",
    "create_attention_masks",
    "config",
    "make_norm",
    "size",
    "layers",
    "range",
    "slice",
    "isinstance",
    "super",
    "ValueError",
    "__name__",
]


@pytest.mark.parametrize("name", RESERVED)
def test_a_class_called_like_something_in_the_model(name: str, tmp_path: Path) -> None:
    """The model is made of it, and everything else is what it was."""
    plain, expected = build(generate_code(project(tmp_path / "plain", {}, {})))
    files = {"my_norm": NORM.format(name=name)}
    code = generate_code(project(tmp_path / "in", files, {"norm": f"my_norm:{name}"}))
    model, module = build(code)
    vendors = [kind for kind, is_vendors in kinds(model, name).items() if is_vendors]
    assert vendors == ["norm1", "norm2", "layer_norm"]
    for other in ("nn", "torch", "Any", "PreTrainedModel", "DynamicCache"):
        assert getattr(module, other) is getattr(expected, other)
    assert type(model).__name__ == type(plain).__name__ == "DynamicCausalLM"
    assert model(prompt()).logits.shape == (2, 40, 160)


def test_what_a_component_defines_besides_rebinds_nothing(tmp_path: Path) -> None:
    """Also in a file that only another component imports."""
    shadows = "".join(f"{name} = None\n" for name in RESERVED if name not in ("super", "range"))
    files = {
        "inner": f"class Inner:\n    pass\n\n\n{shadows}",
        "my_norm": "from .inner import Inner\n" + NORM.format(name="MyNorm"),
    }
    _, expected = build(generate_code(project(tmp_path / "plain", {}, {})))
    model, module = build(
        generate_code(project(tmp_path / "in", files, {"norm": "my_norm:MyNorm"}))
    )
    assert kinds(model, "MyNorm")
    for name in set(RESERVED) & set(vars(expected)) - {"__name__"}:
        assert getattr(module, name) is not None, name
    assert vars(module).keys() - vars(expected).keys() == {"Inner", "MyNorm"}


def test_transformers_loads_and_copies_all_of_it(tmp_path: Path) -> None:
    """Renamed files and classes, and those that only other components import."""
    files = {
        "inner": "class RMSNorm:\n    pass\n",
        "rms_norm": "from .inner import RMSNorm as Inner\n" + NORM.format(name="RMSNorm"),
        "my_layer": "from .pre_norm_layer import PreNormLayer\n\n\n"
        "class nn(PreNormLayer):\n    pass\n",
    }
    components = {**QK_NORM, "norm": "rms_norm:RMSNorm", "layer": "my_layer:nn"}
    code = generate_code(project(tmp_path / "in", files, components))
    model, _ = build(code)
    written = tmp_path / "out"
    model.save_pretrained(written)
    for name, text in code.files.items():
        (written / name).write_text(text)
    content = json.loads((written / "config.json").read_text())
    (written / "config.json").write_text(json.dumps({**content, "auto_map": dict(code.auto_map)}))
    loaded = load_forgather(written)
    assert set(loaded._no_split_modules) == {"nn"}
    loaded.save_pretrained(tmp_path / "saved")
    assert {path.name for path in (tmp_path / "saved").glob("*.py")} == set(code.files)
    again = load_forgather(tmp_path / "saved")
    assert torch.equal(again(prompt()).logits, model.eval()(prompt()).logits)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("from . import rms_norm\n", "from . import rms_norm"),
        ("from .rms_norm import *\n", "from .rms_norm import *"),
        ("from ..rms_norm import RMSNorm\n", "from ..rms_norm import RMSNorm"),
        ("from .a.b import RMSNorm\n", "from .a.b import RMSNorm"),
        ("import torch; from .rms_norm import RMSNorm\n", ".rms_norm"),
        ("if True:\n\tfrom .rms_norm import RMSNorm\n", "from .rms_norm import"),
        ('"""\nfrom .other import Name\n"""\n', "from .other import"),
        ('"""\nimport .other\n"""\n', "import .other"),
        ("from .absent import Name\n", "uses the component 'absent'"),
        ("from .rms_norm import Absent\n", "Absent"),
        ("def (\n", "cannot be read"),
        ("\0", "cannot be read"),
        ("raise SystemError('at import')\n", "SystemError: at import"),
    ],
)
def test_a_component_that_cannot_be_used(text: str, words: str, tmp_path: Path) -> None:
    files = {"my_norm": text + "\n\n" + NORM.format(name="MyNorm")}
    with pytest.raises(ConverterError, match=re.escape(words)) as refused:
        load_generated_code(
            generate_code(project(tmp_path / "in", files, {"norm": "my_norm:MyNorm"}))
        )
    assert "my_norm" in str(refused.value) or "modeling_vendor" in str(refused.value)
