"""The standard tests of a composite's converter."""

import copy
import json
import shutil
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from forgather_convert.families.aliases import of_composite
from forgather_convert.families.converter import HFConverter
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.models.carried_tensors import PROCESSOR_FILES
from forgather_convert.models.reference import ReferenceClasses
from forgather_convert.source.composite import TEXT_CONFIG
from forgather_convert.testing.capabilities import why_absent
from forgather_convert.testing.converted import Family
from forgather_convert.testing.directories import differences
from forgather_convert.testing.models import (
    config_content,
    read_weights,
    save_as_in_memory,
    stored_tensors,
    write_weights,
)
from forgather_convert.testing.process import prepare_process
from forgather_convert.testing.running import (
    greedy,
    load_forgather,
    load_hf,
    padding_mask,
    prompt,
    unequal,
)

_FINAL_NORM = "causal_lm.layer_stack.layer_norm.weight"
_DECODED = 4


def write_composite(
    directory: Path,
    hooks: FamilyHooks,
    text: Mapping[str, Any],
    whole: Mapping[str, Any],
    dtype: str = "bfloat16",
    shards: int = 1,
) -> Path:
    """Writes a composite as transformers saves it, with random weights, and files of a processor.

    Args:
        directory: The directory, which is created.
        hooks: The converter of the composite.
        text: The fields of its text model's config.
        whole: The other fields of its config.
        dtype: The dtype of the weights.
        shards: The number of weights files.
    """
    content = config_content(hooks.of_text_model(), text)
    own_type = f"{hooks.model_type}_text"
    if own_type in CONFIG_MAPPING:
        content["model_type"] = own_type
    fields = copy.deepcopy({**whole, "model_type": hooks.model_type, TEXT_CONFIG: content})
    fields.setdefault("tie_word_embeddings", content.get("tie_word_embeddings", False))
    classes = ReferenceClasses.of(hooks)
    model = classes.model_class(classes.read_whole(fields, "the config of a test"))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in stored_tensors(model).values():
            noise = torch.randn(tensor.shape, generator=generator) * 0.3
            tensor.copy_(noise + (1.0 if tensor.ndim == 1 else 0.0))
            # Not all buffers: those with complex numbers would become real ones.
            if tensor.is_floating_point():
                tensor.data = tensor.to(getattr(torch, dtype))
    directory.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(directory)
    if shards > 1:
        weights = read_weights(directory)
        (directory / "model.safetensors").unlink()
        write_weights(directory, weights, shards)
    for name in PROCESSOR_FILES:
        (directory / name).write_text(json.dumps({"file": name}), encoding="utf-8")
    return directory


# Deprecations in libraries are not the converter's fault.
@pytest.mark.filterwarnings("ignore::DeprecationWarning:(?!forgather)")
@pytest.mark.filterwarnings("ignore::FutureWarning:(?!forgather)")
class CompositeConformance:
    """The tests that every composite's converter should pass; subclass it in a test file.

    They run for every tiny config of the text model. What the text model's own converter does is
    tested by :class:`~forgather_convert.testing.ConverterConformance`.

    Attributes:
        converter_class: The converter under test.
        whole: The fields of a tiny composite's config besides those of its text model.
    """

    converter_class: ClassVar[type[HFConverter]]
    whole: ClassVar[Mapping[str, Any]]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Runs every test for every tiny config of every text model."""
        if metafunc.cls is None or "text_converter" not in metafunc.fixturenames:
            return
        usual = metafunc.cls.converter_class
        others = (of_composite(usual, other.model_type) for other in usual.other_text_models)
        cases = {
            (name if one is usual else f"{one.text_model_type}-{name}"): (one, text)
            for one in (usual, *others)
            for name, text in one().get_tiny_configs().items()
        }
        metafunc.parametrize(("text_converter", "text"), list(cases.values()), ids=list(cases))

    @pytest.fixture
    def family(
        self, text_converter: type[HFConverter], tmp_path_factory: pytest.TempPathFactory
    ) -> Family:
        """The converter under test."""
        family = Family(text_converter())
        absent = why_absent(family.hooks)
        if absent:
            pytest.skip(absent)
        prepare_process(tmp_path_factory.getbasetemp())
        return family

    @pytest.fixture
    def source(self, family: Family, text: Mapping[str, Any], tmp_path: Path) -> Path:
        """The composite."""
        return write_composite(tmp_path / "hf", family.hooks, text, self.whole)

    @pytest.mark.parametrize("shards", [1, 3])
    def test_round_trip_is_byte_identical(
        self, family: Family, text: Mapping[str, Any], shards: int, tmp_path: Path
    ) -> None:
        """As a user converts: the conversion checks itself, against the whole model."""
        source = write_composite(tmp_path / "hf", family.hooks, text, self.whole, "float32", shards)
        fg = family.convert(source, tmp_path / "fg", logit_check=True)
        back = family.convert(fg, tmp_path / "back", logit_check=True)
        assert differences(source, back) == []

    def test_what_transformers_has_in_memory_comes_back(
        self, family: Family, source: Path, tmp_path: Path
    ) -> None:
        """Weights saved as transformers 5 has them in memory, if that differs from checkpoints."""
        model = family.load_hf(source, dtype=torch.bfloat16)
        if not save_as_in_memory(model, tmp_path / "in-memory"):
            return
        fg = family.convert(tmp_path / "in-memory", tmp_path / "fg", logit_check=True)
        back = family.convert(fg, tmp_path / "back", logit_check=True)
        assert differences(tmp_path / "in-memory", back) == []
        saved = tmp_path / "saved"
        load_forgather(fg, dtype=torch.bfloat16).save_pretrained(saved)
        again = family.convert(saved, tmp_path / "again", base=tmp_path / "in-memory")
        assert differences(tmp_path / "in-memory", again) == []
        state = read_weights(family.convert(source, tmp_path / "same"))
        assert unequal(read_weights(fg), state) == []

    @pytest.mark.parametrize("attention", ["eager", "sdpa"])
    def test_computes_like_the_whole_model(
        self,
        family: Family,
        text: Mapping[str, Any],
        source: Path,
        attention: str,
        tmp_path: Path,
    ) -> None:
        """For text: a prompt with padding, tokens decoded one by one, and greedy generation."""
        fg = family.convert(source, tmp_path / "fg")
        options = {"dtype": torch.bfloat16, "attn_implementation": attention}
        models = family.load_hf(source, **options), load_forgather(fg, **options)
        ids = prompt(text)
        for compute in (partial(_padded, ids=ids), partial(_decoded, ids=ids)):
            ones, others = (list(compute(model)) for model in models)
            assert all(map(torch.equal, ones, others))
        (one, one_logits), (other, other_logits) = (greedy(model, ids) for model in models)
        assert torch.equal(one, other)
        assert all(map(torch.equal, one_logits, other_logits))

    def test_trained_weights_come_back(
        self, family: Family, text: Mapping[str, Any], source: Path, tmp_path: Path
    ) -> None:
        """The whole model with the trained text model, and that text model alone."""
        fg = family.convert(source, tmp_path / "fg")
        state = read_weights(fg)
        write_weights(fg, {**state, _FINAL_NORM: state[_FINAL_NORM] * 2})
        back = family.convert(fg, tmp_path / "back")
        alone = family.convert(fg, tmp_path / "text", text_only=True)
        reference = ReferenceClasses.of(family.hooks.of_text_model())
        models = (
            family.load_hf(back, dtype=torch.bfloat16),
            load_forgather(fg, dtype=torch.bfloat16),
            load_hf(reference, alone, dtype=torch.bfloat16),
        )
        ids = prompt(text)
        with torch.no_grad():
            whole, trained, single = (model(input_ids=ids).logits for model in models)
        assert torch.equal(whole, trained)
        assert torch.equal(single, trained)
        differing = differences(source, back)
        assert [name.partition(": ")[2] for name in differing] == ["model.safetensors"]

    def test_weights_saved_elsewhere(self, family: Family, source: Path, tmp_path: Path) -> None:
        """The parts besides the text model are taken from the given base."""
        fg = family.convert(source, tmp_path / "fg")
        saved = tmp_path / "saved"
        load_forgather(fg, dtype=torch.bfloat16).save_pretrained(saved)
        for base in (source, fg):
            back = family.convert(saved, tmp_path / f"from-{base.name}", base=base)
            assert differences(source, back) == []
            shutil.rmtree(back)


def _padded(model: Any, ids: torch.Tensor) -> Iterator[torch.Tensor]:
    """The logits of a prompt with padding, at positions that are given.

    Otherwise, some models count positions from the first token that is no padding.
    """
    mask = padding_mask(ids)
    positions = torch.arange(ids.shape[1]).expand_as(ids)
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=mask, position_ids=positions).logits
    yield from (row[row_mask.bool()] for row, row_mask in zip(logits, mask, strict=True))


def _decoded(model: Any, ids: torch.Tensor) -> Iterator[torch.Tensor]:
    """The logits of a prompt whose last tokens are decoded one by one, at positions as given."""
    cache, start = None, 0
    for end in range(ids.shape[1] - _DECODED, ids.shape[1] + 1):
        part = ids[:, start:end]
        positions = torch.arange(start, end).expand_as(part)
        with torch.no_grad():
            output = model(
                input_ids=part, position_ids=positions, past_key_values=cache, use_cache=True
            )
        cache, start = output.past_key_values, end
        yield output.logits
