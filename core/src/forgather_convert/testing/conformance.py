"""The standard tests of a converter."""

import json
import shutil
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
import torch
from transformers import AutoTokenizer

from forgather_convert.errors import MappingError, SourceError, UnsupportedModelError
from forgather_convert.families.converter import HFConverter
from forgather_convert.in_memory.loading import load_hf_weights
from forgather_convert.in_memory.weights import hf_weights
from forgather_convert.logit_check.logits import trains_with_cache
from forgather_convert.models.reference import UnreadableConfigError
from forgather_convert.models.saved_state import saved_state
from forgather_convert.source.forgather_signs import PROVENANCE_FILE
from forgather_convert.source.rope import ROPE_FIELDS
from forgather_convert.testing.capabilities import (
    DTYPES,
    IS_OLDER,
    attention_implementations,
    why_absent,
)
from forgather_convert.testing.converted import ConvertedModel, Family
from forgather_convert.testing.directories import differences
from forgather_convert.testing.isolation import IsolatedProcess, isolated_process
from forgather_convert.testing.models import (
    read_json,
    read_weights,
    rope_field_names,
    save_as_in_memory,
    write_json,
    write_model,
    write_weights,
)
from forgather_convert.testing.process import prepare_process
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
from forgather_convert.testing.servers import (
    IS_SERVED,
    REFERENCE_ATTENTION,
    SERVER_ATTENTION,
    ServedLayer,
    new_norm,
    served_hidden_states,
    served_layers,
)
from forgather_convert.testing.standard_tests import check_suite
from forgather_convert.testing.tokenizer import TEXT, write_tokenizer
from forgather_convert.testing.without_provenance import WithoutProvenance

every_dtype = pytest.mark.parametrize("dtype", DTYPES)
once_for_weights = pytest.mark.usefixtures("_new_weights")
once_on_version_4 = pytest.mark.usefixtures("_first_on_version_4")
padding = pytest.mark.parametrize("padded", [False, True], ids=["unpadded", "padded"])

_NEW_TOKEN = "<|conformance|>"  # noqa: S105 - not a password
#: Fields that no family knows, and one whose value is not of the type that it mostly has.
_CUSTOM = {"custom_field": {"deep": [1, 2.5, None]}, "eos_token_id": [3, 2]}

Made = TypeVar("Made")


# Deprecations in libraries are not the converter's fault: they must not fail a suite that turns
# warnings into errors.
@pytest.mark.filterwarnings("ignore::DeprecationWarning:(?!forgather)")
@pytest.mark.filterwarnings("ignore::FutureWarning:(?!forgather)")
class ConverterConformance:
    """The tests that every converter should pass; subclass it in a test file.

    No test has a tolerance: a converted model computes the same bits. A subclass may add tests. It
    cannot leave out or change the standard ones, except by
    :func:`~forgather_convert.testing.expected_failure`.

    Converted and loaded models are shared between tests, which run for every config. But a test
    that depends on nothing but a model's weights is skipped for a config whose model has the same
    weights as another's, and some tests run on transformers 4 for the first config only.

    Attributes:
        converter_class: The converter under test.
        configs: Config fields of tiny models, by a name for each; by default the converter's tiny
            configs. RoPE may be written in either schema. Windows and original context lengths
            should be shorter than a few hundred tokens: prompts are chosen longer than they are.
    """

    converter_class: ClassVar[type[HFConverter]]
    configs: ClassVar[Mapping[str, Mapping[str, Any]]]

    _made: ClassVar[dict[Hashable, Any]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        converter_class = getattr(cls, "converter_class", None)
        if not hasattr(cls, "configs") and isinstance(converter_class, type):
            cls.configs = Family(converter_class()).hooks.get_tiny_configs()
        check_suite(ConverterConformance, cls)
        cls._made = {}

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Runs every test for every config and for what the Hugging Face class supports."""
        if metafunc.cls is None:
            return
        if "config_name" in metafunc.fixturenames:
            metafunc.parametrize("config_name", list(metafunc.cls.configs))
        if "attention" in metafunc.fixturenames:
            family = Family(metafunc.cls.converter_class())
            # Without a class, the tests are skipped before they ask for one.
            implementations = (
                ("eager",)
                if why_absent(family.hooks)
                else attention_implementations(family.reference.model_class)
            )
            metafunc.parametrize("attention", implementations)

    @pytest.fixture(autouse=True)
    def _prepared(
        self, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        suite = request.node.getparent(pytest.Class)
        assert suite is not None
        if not self._made:
            suite.addfinalizer(self._made.clear)
        absent = self._once("absent", lambda: why_absent(self._family().hooks))
        if absent:
            pytest.skip(absent)
        prepare_process(tmp_path_factory.getbasetemp())
        # Started early, so that it is ready when it is needed.
        self._isolated(tmp_path_factory)

    @pytest.fixture
    def family(self) -> Family:
        """The converter under test."""
        return self._family()

    def _family(self) -> Family:
        return self._once("family", lambda: Family(self.converter_class()))

    @pytest.fixture
    def fields(self, config_name: str) -> Mapping[str, Any]:
        """The config fields for a test."""
        return self.configs[config_name]

    @pytest.fixture
    def dtype(self) -> str:
        """The dtype of tests that run with only one."""
        return "float32"

    @pytest.fixture
    def converted(
        self, config_name: str, dtype: str, tmp_path_factory: pytest.TempPathFactory
    ) -> ConvertedModel:
        """The model in both formats. Tests must not change the directories."""
        return self._converted(config_name, dtype, tmp_path_factory)

    @pytest.fixture
    def damaged(self, converted: ConvertedModel, tmp_path: Path) -> Path:
        """A copy of the Hugging Face directory, for a test to change."""
        return Path(shutil.copytree(converted.hf, tmp_path / "hf"))

    @pytest.fixture
    def without_provenance(
        self,
        config_name: str,
        converted: ConvertedModel,
        tmp_path_factory: pytest.TempPathFactory,
    ) -> WithoutProvenance:
        """The model, converted in both directions without recording the original config."""

        def make() -> WithoutProvenance:
            parent = tmp_path_factory.mktemp("without-provenance")
            return WithoutProvenance.create(parent, converted, _CUSTOM)

        return self._once(("without provenance", config_name), make)

    def _converted(
        self, config_name: str, dtype: str, tmp_path_factory: pytest.TempPathFactory
    ) -> ConvertedModel:
        def make() -> ConvertedModel:
            parent = tmp_path_factory.mktemp("converted")
            fields = self.configs[config_name]
            return ConvertedModel.create(parent, self._family(), fields, dtype)

        return self._once(("converted", config_name, dtype), make)

    @pytest.fixture
    def _first_on_version_4(self, config_name: str) -> None:
        """Skips a test on transformers 4 for every config but the first.

        Logits, gradients, round trips and configs, in which the versions differ most, are tested
        for all configs.
        """
        first, *_ = self.configs
        if IS_OLDER and config_name != first:
            pytest.skip(f"on transformers 4, for the config '{first}' only")

    @pytest.fixture
    def _new_weights(self, request: pytest.FixtureRequest, converted: ConvertedModel) -> None:
        """Skips a test that was run for another config whose model has the same weights."""
        callspec = request.node.callspec
        parameters = {**callspec.params, "config_name": None}
        weights = {name: tuple(each.shape) for name, each in read_weights(converted.hf).items()}
        key = (request.node.originalname, repr(parameters), repr(weights))
        own = callspec.params["config_name"]
        first = self._once(key, lambda: own)
        if first != own:
            pytest.skip(f"the config '{first}' has the same weights")

    def _isolated(self, tmp_path_factory: pytest.TempPathFactory) -> IsolatedProcess:
        return isolated_process(tmp_path_factory.getbasetemp() / "isolated")

    def _once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Makes a value once per key."""
        if key not in self._made:
            self._made[key] = make()
        made: Made = self._made[key]
        return made

    # Equality

    @every_dtype
    @padding
    def test_logits(self, converted: ConvertedModel, attention: str, padded: bool) -> None:
        """For a prompt that is longer than all windows and original context lengths."""
        ids = prompt(converted.fields)
        mask = padding_mask(ids) if padded else None
        hf, fg = converted.on_both(lambda model: logits(model, ids, mask), attention)
        assert torch.equal(hf, fg)

    @every_dtype
    def test_logits_of_short_prompts(self, converted: ConvertedModel, attention: str) -> None:
        """For one token, two, and an odd number of them, alone and in a batch."""
        ids = prompt(converted.fields)
        for length in (1, 2, 11):
            for rows in (1, 2):
                hf, fg = converted.on_both(partial(logits, ids=ids[:rows, :length]), attention)
                assert torch.equal(hf, fg), (rows, length)

    @every_dtype
    @padding
    def test_logits_of_cached_decoding(
        self, converted: ConvertedModel, attention: str, padded: bool
    ) -> None:
        """For some of the prompt's tokens decoded one by one, across the longest limit."""
        mask = padding_mask(prompt(converted.fields)) if padded else None
        hf, fg = converted.on_both(
            lambda model: decoded_logits(model, converted.fields, mask), attention
        )
        assert all(map(torch.equal, hf, fg))

    @once_on_version_4
    @every_dtype
    def test_greedy_generation(self, converted: ConvertedModel, attention: str) -> None:
        """The same tokens, chosen from the same logits: tokens alone could agree by chance."""
        ids = prompt(converted.fields)
        (hf_ids, hf_logits), (fg_ids, fg_logits) = converted.on_both(
            lambda model: greedy(model, ids), attention
        )
        assert torch.equal(hf_ids, fg_ids)
        assert all(map(torch.equal, hf_logits, fg_logits))

    def test_gradients(self, converted: ConvertedModel, attention: str, tmp_path: Path) -> None:
        """The gradients of the loss in float32, without a cache.

        A cache changes the memory layout of keys and values, and thereby the last bits on some
        processors. Models whose layers keep a state also train with one.

        The original's gradients are written as weights and converted, so that the mapping's
        operations on a weight are applied to its gradient.
        """
        ids = prompt(converted.fields)
        _, has_cache = converted.on_both(lambda model: trains_with_cache(model, ids), attention)
        for use_cache in (False, None) if has_cache else (False,):
            hf, fg = converted.on_both(partial(gradients, ids=ids, use_cache=use_cache), attention)
            parent = tmp_path / str(use_cache)
            parent.mkdir()
            source = write_model(parent / "hf", converted.family.hooks, converted.fields, state=hf)
            expected = read_weights(converted.family.convert(source, parent / "fg"))
            assert unequal(expected, fg) == [], use_cache

    # Weights

    def test_round_trip_is_byte_identical(
        self, family: Family, fields: Mapping[str, Any], tmp_path: Path
    ) -> None:
        """Every file of a directory with three weights files."""
        source = write_model(tmp_path / "hf", family.hooks, fields, "bfloat16", shards=3)
        fg = family.convert(source, tmp_path / "fg")
        assert differences(source, family.convert(fg, tmp_path / "back")) == []

    @pytest.mark.parametrize("dtype", ["bfloat16"])
    def test_conversions_check_themselves(self, converted: ConvertedModel, tmp_path: Path) -> None:
        """As a user converts, in both directions."""
        fg = converted.family.convert(converted.hf, tmp_path / "fg", logit_check=True)
        converted.family.convert(fg, tmp_path / "back", logit_check=True)

    def test_what_transformers_saves_comes_back(
        self, converted: ConvertedModel, tmp_path: Path
    ) -> None:
        """A directory with every file as the running transformers writes it, config included."""
        back = converted.family.convert(converted.fg, tmp_path / "back")
        assert differences(converted.hf, back) == []

    @once_for_weights
    def test_what_transformers_has_in_memory_comes_back(
        self, converted: ConvertedModel, tmp_path: Path
    ) -> None:
        """Weights saved as transformers 5 has them in memory, if that differs from checkpoints."""
        family, source = converted.family, tmp_path / "hf"
        if not save_as_in_memory(family.load_hf(converted.hf, **converted.options), source):
            pytest.skip(f"{family.hooks.display_name} has one form of weights")
        fg = family.convert(source, tmp_path / "fg")
        assert unequal(read_weights(fg), read_weights(converted.fg)) == []
        assert differences(source, family.convert(fg, tmp_path / "back")) == []

    @once_on_version_4
    @once_for_weights
    @pytest.mark.parametrize("dtype", ["bfloat16"])
    def test_changed_weights_come_back(self, converted: ConvertedModel, tmp_path: Path) -> None:
        """Weights changed by training are in the Hugging Face model, bit for bit."""
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
        ids = prompt(converted.fields)
        hf = logits(family.load_hf(back, **converted.options), ids)
        assert torch.equal(hf, logits(load_forgather(trained, **converted.options), ids))
        again = family.convert(back, tmp_path / "again")
        assert unequal(read_weights(again), state) == []

    def test_tied_embeddings(self, converted: ConvertedModel) -> None:
        """Head and embedding are one parameter in both models or in neither, stored once."""
        hf, fg = converted.on_both(lambda model: model)
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
        self, family: Family, without_provenance: WithoutProvenance
    ) -> None:
        """A rewritten config means the same as the original, without foreign fields.

        RoPE is in the schemas of transformers 4 and 5, in both directions, if the class reads both.
        """
        source = without_provenance.source
        original = read_json(source / "config.json")
        back = read_json(without_provenance.back / "config.json")
        names = ROPE_FIELDS if family.hooks.uses_rope() else ()
        for config, expected in (
            (read_json(without_provenance.fg / "config.json"), names),
            (back, rope_field_names(family.hooks)),
        ):
            assert {name: config.get(name) for name in _CUSTOM} == _CUSTOM
            assert tuple(name for name in ROPE_FIELDS if name in config) == expected
        config_class = family.hooks.get_hf_config_class()
        before, after = (
            config_class.from_pretrained(directory).to_dict()
            for directory in (source, without_provenance.back)
        )
        compared = {*original, *before} - {*ROPE_FIELDS, "transformers_version", "_name_or_path"}
        if before.get("head_dim") is None:
            # It is derived from other fields and stated.
            compared.discard("head_dim")
        assert [name for name in compared if before.get(name) != after.get(name)] == []
        known = {*before, *original, *family.hooks.get_hyperparameters(), *ROPE_FIELDS}
        assert sorted(set(back) - known) == []

    def test_config_with_sizes_only(
        self,
        family: Family,
        fields: Mapping[str, Any],
        tmp_path_factory: pytest.TempPathFactory,
    ) -> None:
        """Fields missing from a config get the defaults of its class, in both directions.

        Only sizes and token ids are given: no activation, no epsilon, no rotary base.
        """
        kept = {
            name: value
            for name, value in fields.items()
            if type(value) is int or name.endswith("_token_id")
        }

        def convert() -> None:
            directory = tmp_path_factory.mktemp("sizes-only")
            try:
                source = write_model(directory / "hf", family.hooks, kept)
            except UnreadableConfigError as error:
                pytest.skip(f"transformers needs more fields: {error}")
            names = {"architectures", "model_type", "dtype", *kept}
            content = read_json(source / "config.json")
            write_json(
                source / "config.json", {name: content[name] for name in content if name in names}
            )
            try:
                fg = family.convert(source, directory / "fg", logit_check=True)
            except SourceError as error:
                # Without attention in any layer, a cache does not know its length.
                if "describes a model that does not run with" in str(error):
                    pytest.skip(str(error))
                raise
            back = family.convert(fg, directory / "back")
            assert differences(source, back) == []

        # Configs that differ only in other fields are equal here.
        self._once(("sizes only", repr(sorted(kept.items()))), convert)

    @pytest.mark.parametrize("schema", ["4", "5"])
    def test_rope_of_either_schema(
        self,
        converted: ConvertedModel,
        without_provenance: WithoutProvenance,
        schema: str,
        tmp_path: Path,
    ) -> None:
        """Both are read alike, and the results compute the same with the running transformers.

        For either schema, the same code and config are written as for both.
        """
        _needs_rope(converted.family)
        source = without_provenance.with_schema(schema, tmp_path / "hf")
        written = {write.name: write.content for write in converted.family.plan(source).writes}
        config = json.loads(written.pop("config.json"))
        assert config == read_json(without_provenance.fg / "config.json")
        del written[PROVENANCE_FILE]
        assert written == {
            path.name: path.read_bytes() for path in without_provenance.fg.glob("*.py")
        }
        assert [
            torch.equal(logits, converted.expected) for logits in without_provenance.logits
        ] == [True] * 2

    # Servers

    def test_servers_find_the_attention(self, converted: ConvertedModel) -> None:
        """Servers can replace the attention in the layers with their own."""
        hf, fg = _served_layers(converted)
        assert fg == hf

    def test_hidden_states_with_the_attention_of_a_server(self, converted: ConvertedModel) -> None:
        """For several requests in one sequence, and attention that returns joined heads."""
        _served_layers(converted)
        ids = prompt(converted.fields)
        options = {**converted.options, "attn_implementation": REFERENCE_ATTENTION}
        expected = served_hidden_states(converted.family.load_hf(converted.hf, **options), ids)
        fg = load_forgather(converted.fg, **{**options, "attn_implementation": SERVER_ATTENTION})
        assert torch.equal(served_hidden_states(fg, ids), expected)

    def test_norms_are_built_from_their_size(self, converted: ConvertedModel) -> None:
        """They have the original's initial weights and epsilon."""
        rename = converted.family.hooks.weight_mapping().renamer()
        hf, fg = converted.on_both(lambda model: model)
        stored = saved_state(hf).names
        norms = {
            str(rename(stored.get(f"{name}.weight", f"{name}.weight"))).removesuffix(
                ".weight"
            ): norm
            for name, norm in hf.named_modules()
            if type(norm).__name__.endswith(("RMSNorm", "LayerNorm", "LayerNorm1P"))
        }
        assert norms
        norms = {
            name: norm for name, norm in norms.items() if getattr(norm, "weight", None) is not None
        }
        if not norms:
            pytest.skip(f"The norms of {converted.family.hooks.display_name} have no weights")
        expected = {name: new_norm(norm) for name, norm in norms.items()}
        assert {name: new_norm(fg.get_submodule(name)) for name in norms} == expected

    # Vocabulary

    @once_on_version_4
    @once_for_weights
    def test_vocabulary_grows(
        self, family: Family, fields: Mapping[str, Any], tmp_path: Path
    ) -> None:
        """A new token gets one id, other rows are kept, and so is the token on reverse.

        Once for tied and for untied embeddings, and for tables of other sizes.
        """
        tables = (name for name in fields if name.startswith(("vocab_size", "tie_word")))
        key = ("vocabulary", repr({name: fields[name] for name in sorted(tables)}))
        self._once(key, lambda: self._grow_vocabulary(family, fields, tmp_path))

    def _grow_vocabulary(self, family: Family, fields: Mapping[str, Any], directory: Path) -> None:
        source = directory / "hf"
        source.mkdir()
        size = write_tokenizer(source)
        # Other tables of tokens have their own sizes.
        sizes = dict.fromkeys((name for name in fields if name.startswith("vocab_size")), size)
        fields = {**fields, **sizes, "pad_token_id": 3}
        write_model(source, family.hooks, fields)
        tokens = directory / "tokens.yaml"
        tokens.write_text(f"special_tokens: ['{_NEW_TOKEN}']\n", encoding="utf-8")
        fg_directory = family.convert(source, directory / "fg", token_file=tokens)
        back = family.convert(fg_directory, directory / "back")

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

    @once_on_version_4
    @once_for_weights
    def test_a_missing_tensor_is_named(self, converted: ConvertedModel, damaged: Path) -> None:
        """The first and the last one, by their names in the source or the result."""
        state = read_weights(damaged)
        missing = sorted(state)[0], sorted(state)[-1]
        write_weights(damaged, {name: state[name] for name in state if name not in missing})
        with pytest.raises(MappingError) as error:
            converted.family.plan(damaged)
        for name in missing:
            made = [
                tensor.name
                for tensor in converted.plan.tensors
                if name in [part.name for part in tensor.sources]
            ]
            assert made
            assert any(known in str(error.value) for known in (name, *made))

    @once_on_version_4
    @once_for_weights
    def test_an_extra_tensor_is_named(self, family: Family, damaged: Path) -> None:
        write_weights(damaged, {**read_weights(damaged), "model.surplus.weight": torch.ones(3)})
        with pytest.raises(MappingError, match=r"model\.surplus\.weight"):
            family.plan(damaged)

    @once_on_version_4
    @once_for_weights
    @pytest.mark.parametrize("place", [0, -1], ids=["first", "last"])
    def test_a_tensor_of_the_wrong_shape_is_named(
        self, family: Family, damaged: Path, place: int
    ) -> None:
        state = read_weights(damaged)
        wrong = sorted(state)[place]
        state[wrong] = torch.cat((state[wrong], state[wrong][:1]))
        write_weights(damaged, state)
        with pytest.raises(MappingError) as error:
            family.plan(damaged)
        assert wrong in str(error.value)

    def test_an_unknown_rope_type_is_refused(self, family: Family, damaged: Path) -> None:
        """An unknown type must not be read as the default."""
        _needs_rope(family)
        config = read_json(damaged / "config.json")
        config["rope_scaling"] = {"rope_type": "unheard-of", "factor": 2.0}
        config["rope_parameters"] = {**config["rope_scaling"], "rope_theta": 10000.0}
        write_json(damaged / "config.json", config)
        with pytest.raises(UnsupportedModelError, match="unheard-of"):
            family.plan(damaged)

    # The directory

    def test_nothing_of_this_project_is_needed(
        self, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        """The Forgather directories of all configs load without this project.

        In one dtype, since the code is the same in all.
        """
        models = {
            name: self._converted(name, "bfloat16", tmp_path_factory) for name in self.configs
        }
        prompts = [prompt(model.fields) for model in models.values()]
        logits = self._isolated(tmp_path_factory).logits(
            [(model.fg, model.dtype) for model in models.values()],
            [{"input_ids": ids, "attention_mask": padding_mask(ids)} for ids in prompts],
            absent=[self.converter_class.__module__.partition(".")[0]],
            scratch=tmp_path,
        )
        expected = [model.expected_with_padding for model in models.values()]
        outputs = zip(models, expected, logits, strict=True)
        assert [name for name, one, other in outputs if not torch.equal(one, other)] == []

    @once_on_version_4
    @pytest.mark.parametrize("dtype", ["bfloat16"])
    def test_save_pretrained(self, converted: ConvertedModel, tmp_path: Path) -> None:
        """A model saved by transformers is as complete, and can be converted back."""
        saved = tmp_path / "saved"
        load_forgather(converted.fg, **converted.options).save_pretrained(saved)
        code = {path.name: path.read_bytes() for path in converted.fg.glob("*.py")}
        assert {path.name: path.read_bytes() for path in saved.glob("*.py")} == code
        ids = prompt(converted.fields)
        fg = load_forgather(saved, **converted.options)
        assert torch.equal(logits(fg, ids), converted.expected)
        back = converted.family.convert(saved, tmp_path / "back")
        assert differences(back, converted.family.save(fg, tmp_path / "from memory")) == []
        hf = converted.family.load_hf(back, **converted.options)
        assert torch.equal(logits(hf, ids), converted.expected)

    @once_on_version_4
    @once_for_weights
    @pytest.mark.parametrize("dtype", ["bfloat16"])
    def test_a_model_in_memory(self, converted: ConvertedModel) -> None:
        """Its weights are the stored ones by their names, and what fills it becomes them."""
        model = load_forgather(converted.fg, **converted.options)
        expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        weights = {
            name: tensor.clone()
            for name, tensor in hf_weights(model, converter=converted.family.converter)
        }
        stored = read_weights(converted.hf)
        assert weights.keys() <= stored.keys()
        assert unequal(weights, {name: stored[name] for name in weights}) == []
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
        load_hf_weights(model, converted.hf, converter=converted.family.converter)
        assert unequal(model.state_dict(), expected) == []


def _served_layers(
    converted: ConvertedModel,
) -> tuple[Mapping[int, ServedLayer], Mapping[int, ServedLayer]]:
    """The layers of both models whose attention a server can replace."""
    if not IS_SERVED:
        pytest.skip("No server supports the installed transformers")
    hf, fg = converted.on_both(lambda model: served_layers(model.base_model))
    if fg and not hf:
        pytest.skip("No server supports the Hugging Face class of the installed transformers")
    return hf, fg


def _needs_rope(family: Family) -> None:
    if not family.hooks.uses_rope():
        pytest.skip(f"{family.hooks.display_name} has no rotary embedding")
