"""The chapter "Training in Forgather" works as it is written."""

import re
import subprocess
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from support.real_framework import (
    CHECKOUT,
    Source,
    Training,
    environment,
    logits,
    random_ids,
    running_server,
)
from support.workspace import ROOT

PAGE = ROOT / "docs" / "forgather-framework.md"
CHAPTER = PAGE.read_text().partition("\n## Training in Forgather\n")[2].partition("\n## ")[0]


def run(block: str, directory: Path) -> str:
    """Runs commands in a shell without a terminal; gives what they printed."""
    result = subprocess.run(
        ["bash", "-e"],
        input=block,
        cwd=directory,
        env=environment(FORGATHER=str(CHECKOUT)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


@pytest.mark.usefixtures("project")
def test_commands(tmp_path: Path) -> None:
    source = Source("llama", tied=True, dtype="bfloat16").write(tmp_path / "hf_llama")
    blocks = re.findall(r"^```bash\n(.*?)^```", CHAPTER, re.MULTILINE | re.DOTALL)
    train, serve, link, pytorch = blocks
    log = run(train, tmp_path)
    assert log.count("**** Training Completed *****") == 1
    assert log.count("**** Evaluation Completed *****") == 1
    assert len(Training.read(tmp_path / "fg_llama").losses) == 8
    assert "'eval_loss':" in log

    start, _, client = serve.partition("\n")
    arguments = start.split()[1:]
    port = int(arguments[arguments.index("--port") + 1])
    with running_server(arguments, port, tmp_path):
        assert "Error" not in run(client, tmp_path)

    run(link, tmp_path)
    assert (tmp_path / "fg_llama" / "pytorch_model.bin.index.json").is_symlink()
    log = run(pytorch, tmp_path)
    assert log.count("**** Training Completed *****") == 1

    def computed(name: str) -> torch.Tensor:
        model = AutoModelForCausalLM.from_pretrained(tmp_path / name, trust_remote_code=True)
        return logits(model, random_ids())

    trained = computed("hf_llama_trained")
    assert not torch.equal(trained, computed(source.name))
    for name in ("fg_llama", "fg_llama_bin", "hf_llama_bin_trained"):
        assert torch.equal(computed(name), trained)
