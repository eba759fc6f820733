"""The conversion of a model."""

from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgather_convert.conversion.conversion import (
    Checks,
    Conversion,
    ConversionRequest,
    PlannedConversion,
)
from forgather_convert.families.extensions import ExtensionCalls
from forgather_convert.logit_check.device import check_device
from forgather_convert.logit_check.generation import generate
from forgather_convert.logit_check.logits import (
    CheckedModel,
    CheckSettings,
    LogitComparison,
    check_logits,
)
from forgather_convert.models.opening import ModelRequest, WeightsInMemory, open_model
from forgather_convert.options import ConvertOptions
from forgather_convert.planning.plan import ConversionPlan, ShardPlan
from forgather_convert.planning.request import PlannedModel, PlanRequest
from forgather_convert.progress import Phase, Progress
from forgather_convert.source.detection import Direction
from forgather_convert.tensors.dtypes import lossy_cast_from
from forgather_convert.vocabulary.requests import TokenRequest

if TYPE_CHECKING:
    from forgather_convert.compare.conversion_configs import ConfigComparison
    from forgather_convert.planning.weights import WeightsPlan


@dataclass(frozen=True)
class ModelConversion(Conversion):
    """The conversion of a model.

    Attributes:
        request: The input for planning it.
    """

    request: PlanRequest

    @property
    def extension_calls(self) -> ExtensionCalls:
        return self.request.model.extension_calls

    @property
    def title(self) -> str:
        if self.request.detection.direction is Direction.TO_FORGATHER:
            return "Converting HuggingFace model to Forgather format"
        return f"Converting Forgather model to HuggingFace {self.request.hooks.display_name}"

    @cached_property
    def _early_weights(self) -> "WeightsPlan | None":
        from forgather_convert.planning.early_weights import plan_early_weights

        return plan_early_weights(self.request)

    def early_shards(self) -> tuple[ShardPlan, ...]:
        return () if self._early_weights is None else self._early_weights.shards

    def plan(self) -> PlannedConversion:
        options = self.request.options
        if options.logit_check or options.generation_test:
            check_device(options.device)
        from forgather_convert.compare.conversion_configs import check_configs
        from forgather_convert.planning.planner import plan_conversion

        planned = plan_conversion(self.request, self._early_weights)
        configs = check_configs(planned, options)
        return _PlannedModelConversion(planned, configs, options, self.request.model.in_memory)


def open_model_conversion(request: ConversionRequest) -> ModelConversion:
    """Opens a model to convert.

    Raises:
        ForgatherConvertError: It cannot be converted, or not to that destination.
    """
    request.check_destination()
    tokens = _read_files_of_the_user(request.options)
    model = open_model(
        ModelRequest(request.source, request.options, request.converter, request.weights)
    )
    return ModelConversion(PlanRequest(model, request.destination.given, tokens))


def _read_files_of_the_user(options: ConvertOptions) -> tuple[TokenRequest, ...] | None:
    """Reads the tokens to add, and checks the chat template."""
    tokens = None
    if options.token_file is not None:
        from forgather_convert.vocabulary.token_file import read_token_file

        tokens = read_token_file(options.token_file)
    if options.chat_template_path is not None:
        from forgather_convert.vocabulary.chat_template import read_template

        read_template(options.chat_template_path)
    return tokens


@dataclass(frozen=True)
class _PlannedModelConversion(PlannedConversion):
    planned: PlannedModel
    configs: "ConfigComparison"
    options: ConvertOptions
    in_memory: WeightsInMemory | None

    @property
    def plan(self) -> ConversionPlan:
        return self.planned.plan

    def check(self, written: Path, progress: Progress) -> Checks:
        logits = generation = None
        if self.options.logit_check:
            progress.start(Phase.CHECK)
            logits = self._check_logits(written, progress)
        if self.options.generation_test:
            progress.start(Phase.GENERATE)
            source_dtype = self._cast_from or self.plan.dtype
            generation = generate(self.planned, written, self.options, source_dtype, progress)
        return Checks(self.configs, logits, generation)

    def _check_logits(self, written: Path, progress: Progress) -> LogitComparison:
        planned, options = self.planned, self.options
        source, destination = planned.source, planned.destination
        notes: list[str] = []
        weights, code, is_own_code = planned.source_state, source.code_owner, source.is_own_code
        load = partial(source.load, planned.source_state, notes.append)
        if self.in_memory is not None and self.in_memory.load is not None:
            load = partial(self.in_memory.load)
            weights, code, is_own_code = {}, "its own code", True
        return check_logits(
            CheckedModel(
                name="source",
                load=load,
                tokenizer_directory=source.directory,
                hf_config=source.config_object,
                code=code,
                is_own_code=is_own_code,
                notes=notes,
                weights=weights,
            ),
            CheckedModel(
                name="result",
                load=lambda: self._load_result(written),
                tokenizer_directory=written,
                hf_config=destination.config_object,
                code=destination.code_owner,
            ),
            CheckSettings(
                dtype=planned.plan.dtype,
                prompt=options.prompt,
                device=options.device,
                mapping=planned.mapping_as_loaded,
                cast_from=self._cast_from,
                tolerance=options.logit_tolerance,
            ),
            planned.plan.vocabulary,
            progress,
        )

    def _load_result(self, written: Path) -> Any:
        destination = self.planned.destination
        if self.options.code_only:
            return destination.load_tensors(self.plan.source, self.planned.tensors)
        return destination.load(written)

    @property
    def _cast_from(self) -> str | None:
        """The dtype of the weights before they are rounded; ``None`` if they are not."""
        if self.options.dtype is None:
            return None
        stored = {value.dtype for value in self.planned.source_state.values()}
        return lossy_cast_from(stored, self.plan.dtype)
