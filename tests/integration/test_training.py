"""A converted model trains as the original does, bit for bit, and what it becomes can be kept."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from support.models import load_forgather, padding_mask, prompt
from support.pairs import Pair, every_attention, every_dtype, every_family, every_variant
from support.variants import VOCAB_SIZE, variant

float32 = pytest.mark.parametrize("dtype", ["float32"])


def loss_gradients(model: Any) -> dict[str, torch.Tensor | None]:
    """Every parameter's gradient of the loss on a padded batch, in training mode."""
    model.train()
    attention_mask = padding_mask(prompt())
    model(prompt(), attention_mask=attention_mask, labels=prompt(), use_cache=False).loss.backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def assert_equal_by_name(pair: Pair, hf: dict[str, Any], fg: dict[str, Any]) -> None:
    """Both have the same tensors, under the names that the mapping gives them."""
    names = dict(zip(hf, pair.forgather_names(hf), strict=True))
    assert set(names.values()) == set(fg)
    assert [name for name in hf if not torch.equal(hf[name], fg[str(names[name])])] == []


@every_variant
@float32
@every_attention
@pytest.mark.parametrize("checkpointing", [False, True], ids=["stored", "recomputed"])
def test_gradients(pair: Pair, attention: str, checkpointing: bool) -> None:
    models = pair.load(attention)
    if checkpointing:
        for model in models:
            model.gradient_checkpointing_enable()
    assert_equal_by_name(pair, *map(loss_gradients, models))


@every_family
@float32
@pytest.mark.parametrize("use_reentrant", [False, True])
def test_gradient_checkpointing_runs_every_layer_twice(pair: Pair, use_reentrant: bool) -> None:
    """Equal gradients alone do not show that anything was recomputed."""
    _, fg = pair.load()
    fg.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
    runs = []
    for layer in fg.causal_lm.layer_stack.layers:
        layer.norm1.register_forward_hook(lambda *_: runs.append(1))
    loss_gradients(fg)
    assert len(runs) == 2 * fg.config.num_hidden_layers


@every_family
@float32
@every_attention
def test_dropout(pair: Pair, attention: str) -> None:
    """Random numbers are drawn in the same order, and in training only."""
    gradients = []
    for model in pair.load(attention, attention_dropout=0.2):
        torch.manual_seed(5)
        gradients.append(loss_gradients(model))
    assert_equal_by_name(pair, *gradients)


@every_variant
@float32
def test_mixed_precision(pair: Pair) -> None:
    """Angles and norms stay in float32 where autocast computes the rest in bfloat16."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        gradients = [loss_gradients(model) for model in pair.load()]
    assert_equal_by_name(pair, *gradients)


@every_family
@float32
def test_initial_weights(pair: Pair) -> None:
    """Training from scratch starts at the same weights for the same seed."""
    models = []
    for directory in (pair.hf, pair.fg):
        config = transformers.AutoConfig.from_pretrained(directory, trust_remote_code=True)
        torch.manual_seed(7)
        models.append(transformers.AutoModelForCausalLM.from_config(config, trust_remote_code=True))
    assert_equal_by_name(pair, *(model.state_dict() for model in models))


class RandomTokens(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Eight sequences to be learnt."""

    def __init__(self) -> None:
        self.ids = prompt(batch=8, length=20)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.ids[index], "labels": self.ids[index]}


def make_trainer(model: Any, output: Path, **options: Any) -> transformers.Trainer:
    arguments = transformers.TrainingArguments(
        output_dir=str(output),
        max_steps=2,
        save_steps=2,
        per_device_train_batch_size=2,
        learning_rate=1e-3,
        report_to="none",
        use_cpu=True,
        dataloader_pin_memory=False,
        disable_tqdm=True,
        seed=11,
        **options,
    )
    return transformers.Trainer(model=model, args=arguments, train_dataset=RandomTokens())


@every_family
@float32
def test_weight_decay_spares_the_same_parameters(pair: Pair, tmp_path: Path) -> None:
    """The Trainer tells norms and biases by their names and classes."""
    hf, fg = (
        make_trainer(model, tmp_path).get_decay_parameter_names(model) for model in pair.load()
    )
    assert set(pair.forgather_names(hf)) == set(fg)


@pytest.mark.parametrize(
    ("variant", "checkpointing"),
    [
        (variant("llama-tied"), False),
        (variant("mistral-window"), True),
        (variant("qwen3-attention-bias"), False),
    ],
    ids=["llama-stored", "mistral-recomputed", "qwen3-stored"],
)
@float32
def test_trainer(pair: Pair, checkpointing: bool, tmp_path: Path) -> None:
    """Two steps give the same weights as for the original, and a checkpoint that loads.

    Gradients are not clipped: their common norm is a sum in the order of the parameters.
    """
    hf, fg = pair.load(use_cache=False)
    options = {"gradient_checkpointing": checkpointing, "max_grad_norm": 0.0}
    before = fg(prompt()).logits
    for model, name in ((hf, "hf"), (fg, "fg")):
        make_trainer(model, tmp_path / name, **options).train()
    assert_equal_by_name(pair, *(dict(model.named_parameters()) for model in (hf, fg)))

    expected = fg.eval()(prompt()).logits
    assert not torch.equal(expected, before)
    checkpoint = load_forgather(tmp_path / "fg" / "checkpoint-2", dtype=torch.float32)
    assert torch.equal(checkpoint(prompt()).logits, expected)


@pytest.mark.parametrize("variant", [variant("llama-tied")], ids=lambda variant: variant.id)
@float32
def test_label_smoothing(pair: Pair, tmp_path: Path) -> None:
    """The Trainer has its own loss then, and must know that labels are the next tokens."""
    losses = []
    models = pair.load(use_cache=False)
    for model, name in zip(models, ("hf", "fg"), strict=True):
        trainer = make_trainer(
            model,
            tmp_path / name,
            label_smoothing_factor=0.2,
            max_grad_norm=0.0,
            logging_steps=1,
        )
        trainer.train()
        losses.append([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
    assert len(losses[0]) == 2
    assert losses[0] == losses[1]
    assert_equal_by_name(pair, *(dict(model.named_parameters()) for model in models))


def python_files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.glob("*.py")}


@every_variant
@every_dtype
@torch.no_grad()
def test_save_pretrained(pair: Pair, tmp_path: Path) -> None:
    """A saved model is as self-contained as the converted one, also after the second time."""
    dtype = getattr(torch, pair.dtype)
    model = load_forgather(pair.fg, dtype=dtype)
    expected = model(prompt()).logits
    for generation in ("first", "second"):
        model.save_pretrained(tmp_path / generation)
        assert python_files(tmp_path / generation) == python_files(pair.fg)
        model = load_forgather(tmp_path / generation, dtype=dtype)
        assert torch.equal(model(prompt()).logits, expected)
    configs = [
        transformers.AutoConfig.from_pretrained(directory, trust_remote_code=True).auto_map
        for directory in (pair.fg, tmp_path / "second")
    ]
    assert configs[0] == configs[1]


@pytest.fixture
def process_group(tmp_path: Path) -> Iterator[None]:
    """The group of this process alone."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1
    )
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("variant", [variant("llama-tied")], ids=lambda variant: variant.id)
@float32
@pytest.mark.usefixtures("process_group")
@torch.no_grad()
def test_saving_what_is_sharded(pair: Pair, tmp_path: Path) -> None:
    """``fully_shard`` exchanges the class for one in a module of torch."""
    _, model = pair.load()
    expected = model(prompt()).logits
    mesh = init_device_mesh("cpu", (1,))
    for module in (*model.causal_lm.layer_stack.layers, model):
        fully_shard(module, mesh=mesh)
    assert torch.equal(model(prompt()).logits, expected)

    whole = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True))
    model.save_pretrained(tmp_path / "saved", state_dict=whole)
    assert python_files(tmp_path / "saved") == python_files(pair.fg)
    loaded = load_forgather(tmp_path / "saved", dtype=torch.float32)
    assert torch.equal(loaded(prompt()).logits, expected)


@pytest.mark.parametrize("variant", [variant("qwen3-tied")], ids=lambda variant: variant.id)
@float32
@pytest.mark.parametrize("task", ["SequenceClassification", "TokenClassification"])
def test_classification(pair: Pair, task: str, tmp_path: Path) -> None:
    """A new head on the transformer: the same one for the same seed."""
    auto_class = getattr(transformers, f"AutoModelFor{task}")
    ids, attention_mask = prompt(), padding_mask(prompt())
    labels = torch.arange(len(ids)) if task.startswith("Sequence") else ids % 3
    gradients, logits = [], []
    for directory in (pair.hf, pair.fg):
        torch.manual_seed(3)
        model = auto_class.from_pretrained(
            directory, trust_remote_code=True, num_labels=3, dtype=torch.float32
        ).eval()
        output = model(ids, attention_mask=attention_mask, labels=labels)
        output.loss.backward()
        logits.append(output.logits)
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    assert torch.equal(*logits)
    heads = [{name: each.pop(name) for name in list(each) if "score" in name} for each in gradients]
    assert heads[0].keys() == heads[1].keys()
    assert all(torch.equal(heads[0][name], heads[1][name]) for name in heads[0])
    assert_equal_by_name(pair, *gradients)

    model.save_pretrained(tmp_path / "trained")
    again = auto_class.from_pretrained(
        tmp_path / "trained", trust_remote_code=True, dtype=torch.float32
    ).eval()
    assert torch.equal(again(ids, attention_mask=attention_mask).logits, logits[1])


@pytest.mark.parametrize(
    "variant",
    [variant("llama-default"), variant("mistral-tied"), variant("qwen3-tied")],
    ids=lambda variant: variant.id,
)
@every_dtype
@pytest.mark.parametrize("vocab_size", [VOCAB_SIZE + 9, VOCAB_SIZE - 9], ids=["more", "fewer"])
@torch.no_grad()
def test_resized_vocabulary(pair: Pair, vocab_size: int, tmp_path: Path) -> None:
    """New rows are drawn at random: the same seed gives the same rows as in the original."""
    ids = prompt() % (VOCAB_SIZE - 9)
    logits = []
    for model in pair.load():
        torch.manual_seed(13)
        model.resize_token_embeddings(vocab_size)
        assert model.config.vocab_size == vocab_size
        logits.append(model(ids).logits)
    assert logits[0].shape[-1] == vocab_size
    assert torch.equal(*logits)

    model.save_pretrained(tmp_path / "resized")
    loaded = load_forgather(tmp_path / "resized", dtype=getattr(torch, pair.dtype))
    assert torch.equal(loaded(ids).logits, logits[1])
