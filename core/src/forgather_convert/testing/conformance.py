"""The standard tests of a converter."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from transformers import AutoTokenizer

from forgather_convert.errors import MappingError, UnsupportedModelError
from forgather_convert.families.converter import HFConverter
from forgather_convert.families.rope import ROPE_FIELDS
from forgather_convert.sides.provenance import PROVENANCE_FILE
from forgather_convert.testing.converted import ConvertedModel, Family
from forgather_convert.testing.directories import differences
from forgather_convert.testing.isolation import logits_in_isolation
from forgather_convert.testing.models import (
    read_json,
    read_weights,
    save_model,
    write_json,
    write_model,
    write_weights,
)
from forgather_convert.testing.module_cache import use_module_cache
from forgather_convert.testing.running import (
    decoded_logits,
    gradients,
    greedy,
    load_forgather,
    logits,
    padding_mask,
    prompt,
    unequal,
)
from forgather_convert.testing.standard_tests import check_suite
from forgather_convert.testing.tokenizer import TEXT, write_tokenizer

every_dtype = pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
every_attention = pytest.mark.parametrize("attention", ["eager", "sdpa"])
padding = pytest.mark.parametrize("padded", [False, True], ids=["unpadded", "padded"])

_NEW_TOKEN = "<|conformance|>"  # noqa: S105 - not a password


# The libraries' own deprecations are not the converter's: they must not fail a suite that
# turns warnings into errors.
@pytest.mark.filterwarnings("ignore::DeprecationWarning:(?!forgather)")
@pytest.mark.filterwarnings("ignore::FutureWarning:(?!forgather)")
class ConverterConformance:
    """The tests that every converter should pass; subclass it in a test file.

    Every test runs for every config, and none has a tolerance: a converted model computes
    the same bits. A subclass adds tests of its own as it likes. It cannot leave out or change
    the standard ones, except by :func:`~forgather_convert.testing.expected_failure`.

    Attributes:
        converter_class: The converter under test.
        configs: Config fields of tiny models, by a name for each; by default the converter's
            ``tiny_configs``. RoPE may be written in either
            schema. Windows and original context lengths should be shorter than a few hundred
            tokens: prompts are chosen longer than they are.
    """

    converter_class: ClassVar[type[HFConverter]]
    configs: ClassVar[Mapping[str, Mapping[str, Any]]]

    _converted_models: ClassVar[dict[tuple[str, str], ConvertedModel]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        converter_class = getattr(cls, "converter_class", None)
        if not hasattr(cls, "configs") and isinstance(converter_class, type):
            cls.configs = getattr(converter_class, "tiny_configs", {})
        check_suite(ConverterConformance, cls)
        cls._converted_models = {}

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Runs every test for every config."""
        if "config_name" in metafunc.fixturenames and metafunc.cls is not None:
            metafunc.parametrize("config_name", list(metafunc.cls.configs))

    @pytest.fixture(autouse=True)
    def _own_module_cache(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        use_module_cache(tmp_path_factory.getbasetemp() / "transformers-modules")

    @pytest.fixture
    def family(self) -> Family:
        """The converter under test."""
        return Family(self.converter_class())

    @pytest.fixture
    def fields(self, config_name: str) -> Mapping[str, Any]:
        """The config fields that a test is for."""
        return self.configs[config_name]

    @pytest.fixture
    def dtype(self) -> str:
        """The dtype of tests that are for one only."""
        return "float32"

    @pytest.fixture
    def converted(
        self, config_name: str, dtype: str, tmp_path_factory: pytest.TempPathFactory
    ) -> ConvertedModel:
        """The model in both formats. Tests must not change the directories."""
        return self._convert_once(config_name, dtype, tmp_path_factory)

    def _convert_once(
        self, config_name: str, dtype: str, tmp_path_factory: pytest.TempPathFactory
    ) -> ConvertedModel:
        key = (config_name, dtype)
        if key not in self._converted_models:
            parent = tmp_path_factory.mktemp("converted")
            family, fields = Family(self.converter_class()), self.configs[config_name]
            self._converted_models[key] = ConvertedModel.create(parent, family, fields, dtype)
        return self._converted_models[key]

    # Equality

    @every_dtype
    @every_attention
    @padding
    def test_logits(self, converted: ConvertedModel, attention: str, padded: bool) -> None:
        """A prompt that is longer than all windows and original context lengths."""
        ids = prompt(converted.fields)
        mask = padding_mask(ids) if padded else None
        hf, fg = (logits(model, ids, mask) for model in converted.load(attention))
        assert torch.equal(hf, fg)

    @every_dtype
    @every_attention
    @padding
    def test_logits_of_cached_decoding(
        self, converted: ConvertedModel, attention: str, padded: bool
    ) -> None:
        """The prompt's last tokens one by one, across windows and context lengths."""
        ids = prompt(converted.fields)
        mask = padding_mask(ids) if padded else None
        hf, fg = (decoded_logits(model, ids, mask) for model in converted.load(attention))
        assert all(map(torch.equal, hf, fg))

    @every_dtype
    @every_attention
    def test_greedy_generation(self, converted: ConvertedModel, attention: str) -> None:
        """The same tokens, chosen from the same logits: tokens alone could agree by chance."""
        ids = prompt(converted.fields)
        (hf_ids, hf_logits), (fg_ids, fg_logits) = (
            greedy(model, ids) for model in converted.load(attention)
        )
        assert torch.equal(hf_ids, fg_ids)
        assert all(map(torch.equal, hf_logits, fg_logits))

    @every_attention
    def test_gradients(self, converted: ConvertedModel, attention: str, tmp_path: Path) -> None:
        """The gradients of the loss in float32.

        The original's are written as weights and converted, so that whatever the mapping
        does to a weight is done to its gradient.
        """
        ids = prompt(converted.fields)
        hf, fg = (gradients(model, ids) for model in converted.load(attention))
        source = write_model(tmp_path / "hf", converted.family.hooks, converted.fields, state=hf)
        expected = read_weights(converted.family.convert(source, tmp_path / "fg"))
        assert unequal(expected, fg) == []

    # Weights

    @pytest.mark.parametrize("shards", [1, 3])
    def test_round_trip_is_byte_identical(
        self, family: Family, fields: Mapping[str, Any], shards: int, tmp_path: Path
    ) -> None:
        """Every file of the directory, as a user converts: the conversion checks itself."""
        source = write_model(tmp_path / "hf", family.hooks, fields, "bfloat16", shards=shards)
        fg = family.convert(source, tmp_path / "fg", logit_check=True)
        back = family.convert(fg, tmp_path / "back", logit_check=True)
        assert differences(source, back) == []

    @every_dtype
    def test_what_transformers_saves_comes_back(
        self, family: Family, fields: Mapping[str, Any], dtype: str, tmp_path: Path
    ) -> None:
        """A directory with every file as the running transformers writes it, config included."""
        source = tmp_path / "hf"
        source.mkdir()
        save_model(source, family.hooks, fields, dtype)
        fg = family.convert(source, tmp_path / "fg", logit_check=True)
        back = family.convert(fg, tmp_path / "back", logit_check=True)
        assert differences(source, back) == []

    @every_dtype
    def test_changed_weights_come_back(
        self, converted: ConvertedModel, dtype: str, tmp_path: Path
    ) -> None:
        """What training made of the weights is in the Hugging Face model, bit for bit."""
        family = converted.family
        trained = tmp_path / "trained"
        shutil.copytree(converted.fg, trained)
        generator = torch.Generator().manual_seed(2)
        state = {
            name: (torch.randn(tensor.shape, generator=generator) * 0.2).to(tensor.dtype)
            for name, tensor in read_weights(trained).items()
        }
        write_weights(trained, state)
        back = family.convert(trained, tmp_path / "back")
        ids, torch_dtype = prompt(converted.fields), getattr(torch, dtype)
        hf, fg = (
            logits(model, ids)
            for model in (
                family.load_hf(back, dtype=torch_dtype),
                load_forgather(trained, dtype=torch_dtype),
            )
        )
        assert torch.equal(hf, fg)
        again = family.convert(back, tmp_path / "again")
        assert unequal(read_weights(again), state) == []

    def test_tied_embeddings(self, converted: ConvertedModel) -> None:
        """Head and embedding are one parameter in both models or in neither, stored once."""
        hf, fg = converted.load()
        is_tied = bool(hf.config.tie_word_embeddings)
        for model in (hf, fg):
            head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
            assert (head.weight is embedding.weight) == is_tied
        assert read_json(converted.fg / "config.json")["tie_word_embeddings"] is is_tied
        first_names: dict[int, str] = {}
        for name, tensor in fg.state_dict(keep_vars=True).items():
            first_names.setdefault(id(tensor), name)
        assert set(read_weights(converted.fg)) == set(first_names.values())

    # Config

    def test_config_without_the_original(
        self, converted: ConvertedModel, family: Family, tmp_path: Path
    ) -> None:
        """A config that is written anew says what the original said, and nothing foreign.

        RoPE is in the schemas of transformers 4 and 5, on both sides.
        """
        source = tmp_path / "hf"
        shutil.copytree(converted.hf, source)
        custom = {"custom_field": {"deep": [1, 2.5, None]}, "eos_token_id": [3, 2]}
        original = {**read_json(source / "config.json"), **custom}
        write_json(source / "config.json", original)
        fg = family.convert(source, tmp_path / "fg")
        (fg / PROVENANCE_FILE).unlink()
        back = read_json(family.convert(fg, tmp_path / "back") / "config.json")

        for config in (read_json(fg / "config.json"), back):
            assert {name: config.get(name) for name in custom} == custom
            assert [name for name in ROPE_FIELDS if name not in config] == []
        config_class = family.hooks.hf_config_class()
        before, after = (
            config_class.from_pretrained(directory).to_dict()
            for directory in (source, tmp_path / "back")
        )
        compared = {*original, *before} - {*ROPE_FIELDS, "transformers_version", "_name_or_path"}
        if before.get("head_dim") is None:
            # It follows from other fields, and is written down.
            compared.discard("head_dim")
        assert [name for name in compared if before.get(name) != after.get(name)] == []
        known = {*before, *original, *family.hooks.hyperparameters(), *ROPE_FIELDS}
        assert sorted(set(back) - known) == []

    def test_config_with_sizes_only(
        self, family: Family, fields: Mapping[str, Any], tmp_path: Path
    ) -> None:
        """What a config leaves out is what its class has for it, both ways.

        Nothing is left but sizes and token ids: no activation, no epsilon, no rotary base.
        """
        kept = {
            name: value
            for name, value in fields.items()
            if type(value) is int or name.endswith("_token_id")
        }
        source = write_model(tmp_path / "hf", family.hooks, kept)
        names = {"architectures", "model_type", "dtype", *kept}
        content = read_json(source / "config.json")
        write_json(
            source / "config.json", {name: content[name] for name in content if name in names}
        )
        fg = family.convert(source, tmp_path / "fg", logit_check=True)
        back = family.convert(fg, tmp_path / "back", logit_check=True)
        assert differences(source, back) == []

    @pytest.mark.parametrize("schema", ["4", "5"])
    def test_rope_of_either_schema(
        self, converted: ConvertedModel, family: Family, schema: str, tmp_path: Path
    ) -> None:
        """Both are read, and what is written computes the same on the running transformers."""
        source = write_model(tmp_path / "hf", family.hooks, converted.fields, schema=schema)
        fg = family.convert(source, tmp_path / "fg")
        (fg / PROVENANCE_FILE).unlink()
        back = family.convert(fg, tmp_path / "back")
        ids = prompt(converted.fields)
        expected = logits(converted.load()[0], ids)
        assert torch.equal(logits(load_forgather(fg, dtype=torch.float32), ids), expected)
        assert torch.equal(logits(family.load_hf(back, dtype=torch.float32), ids), expected)

    # Vocabulary

    def test_vocabulary_grows(
        self, family: Family, fields: Mapping[str, Any], tmp_path: Path
    ) -> None:
        """A new token is one id, the rows of the others stay, and the way back keeps it."""
        source = tmp_path / "hf"
        source.mkdir()
        size = write_tokenizer(source)
        fields = {**fields, "vocab_size": size, "pad_token_id": 3}
        write_model(source, family.hooks, fields)
        tokens = tmp_path / "tokens.yaml"
        tokens.write_text(f"special_tokens: ['{_NEW_TOKEN}']\n", encoding="utf-8")
        fg_directory = family.convert(source, tmp_path / "fg", token_file=tokens)
        back = family.convert(fg_directory, tmp_path / "back")

        before, after = (
            AutoTokenizer.from_pretrained(path, trust_remote_code=True, local_files_only=True)
            for path in (source, fg_directory)
        )
        assert after(TEXT)["input_ids"] == before(TEXT)["input_ids"]
        assert after(_NEW_TOKEN, add_special_tokens=False)["input_ids"] == [size]
        old = family.load_hf(source, dtype=torch.float32)
        fg, hf = load_forgather(fg_directory), family.load_hf(back, dtype=torch.float32)
        for model in (fg, hf):
            assert model.config.vocab_size == size + 1
            for matrix in ("get_input_embeddings", "get_output_embeddings"):
                weight, old_weight = (getattr(side, matrix)().weight for side in (model, old))
                assert weight.shape[0] == size + 1
                assert torch.equal(weight[:size], old_weight)
        ids = prompt({**fields, "vocab_size": size + 1})
        assert torch.equal(logits(fg, ids), logits(hf, ids))

    # Refusals

    @pytest.mark.parametrize("place", [0, -1], ids=["first", "last"])
    def test_a_missing_tensor_is_named(
        self, family: Family, fields: Mapping[str, Any], place: int, tmp_path: Path
    ) -> None:
        source = write_model(tmp_path / "hf", family.hooks, fields)
        state = read_weights(source)
        missing = sorted(state)[place]
        complete = family.plan(source)
        names = [missing] + [
            tensor.name
            for tensor in complete.tensors
            if missing in [part.name for part in tensor.sources]
        ]
        assert len(names) > 1
        write_weights(source, {name: state[name] for name in state if name != missing})
        with pytest.raises(MappingError) as error:
            family.plan(source)
        assert any(name in str(error.value) for name in names)

    def test_an_extra_tensor_is_named(
        self, family: Family, fields: Mapping[str, Any], tmp_path: Path
    ) -> None:
        source = write_model(tmp_path / "hf", family.hooks, fields)
        write_weights(source, {**read_weights(source), "model.surplus.weight": torch.ones(3)})
        with pytest.raises(MappingError, match=r"model\.surplus\.weight"):
            family.plan(source)

    @pytest.mark.parametrize("place", [0, -1], ids=["first", "last"])
    def test_a_tensor_of_the_wrong_shape_is_named(
        self, family: Family, fields: Mapping[str, Any], place: int, tmp_path: Path
    ) -> None:
        source = write_model(tmp_path / "hf", family.hooks, fields)
        state = read_weights(source)
        wrong = sorted(state)[place]
        state[wrong] = torch.cat((state[wrong], state[wrong][:1]))
        write_weights(source, state)
        with pytest.raises(MappingError) as error:
            family.plan(source)
        assert wrong in str(error.value)

    def test_an_unknown_rope_type_is_refused(
        self, family: Family, fields: Mapping[str, Any], tmp_path: Path
    ) -> None:
        """A type that nobody knows yet must not be read as the default."""
        source = write_model(tmp_path / "hf", family.hooks, fields)
        config = read_json(source / "config.json")
        config["rope_scaling"] = {"rope_type": "unheard-of", "factor": 2.0}
        config["rope_parameters"] = {**config["rope_scaling"], "rope_theta": 10000.0}
        write_json(source / "config.json", config)
        with pytest.raises(UnsupportedModelError, match="unheard-of"):
            family.plan(source)

    # The directory

    def test_nothing_of_this_project_is_needed(
        self, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        """The Forgather directories of all configs load where no converter is installed.

        All in one process: one of its own for each would take several seconds to start.
        """
        models = {
            (name, dtype): self._convert_once(name, dtype, tmp_path_factory)
            for name in self.configs
            for dtype in ("float32", "bfloat16")
        }
        prompts = {key: prompt(model.fields) for key, model in models.items()}
        found = logits_in_isolation(
            [(model.fg, model.dtype) for model in models.values()],
            [{"input_ids": ids, "attention_mask": padding_mask(ids)} for ids in prompts.values()],
            absent=[self.converter_class.__module__.partition(".")[0]],
            scratch=tmp_path,
        )
        expected = [
            logits(model.load()[0], prompts[key], padding_mask(prompts[key]))
            for key, model in models.items()
        ]
        outputs = zip(models, expected, found, strict=True)
        assert [key for key, one, other in outputs if not torch.equal(one, other)] == []

    @every_dtype
    def test_save_pretrained(self, converted: ConvertedModel, dtype: str, tmp_path: Path) -> None:
        """A model that transformers has saved is as complete, and converts back."""
        options = {"dtype": getattr(torch, dtype)}
        saved = tmp_path / "saved"
        load_forgather(converted.fg, **options).save_pretrained(saved)
        code = {path.name: path.read_bytes() for path in converted.fg.glob("*.py")}
        assert {path.name: path.read_bytes() for path in saved.glob("*.py")} == code
        ids = prompt(converted.fields)
        expected = logits(converted.load()[0], ids)
        assert torch.equal(logits(load_forgather(saved, **options), ids), expected)
        back = converted.family.convert(saved, tmp_path / "back")
        assert torch.equal(logits(converted.family.load_hf(back, **options), ids), expected)
