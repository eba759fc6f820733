"""The conversion of an adapter, derived from the conversion of its base model."""

from dataclasses import dataclass
from pathlib import Path

from forgather_convert.adapters import logit_check
from forgather_convert.adapters.adapter_directory import AdapterDirectory, read_adapter
from forgather_convert.adapters.planner import (
    PlannedAdapter,
    options_of_base,
    plan_adapter,
    refuse_options_of_models,
)
from forgather_convert.conversion.conversion import (
    Checks,
    Conversion,
    ConversionRequest,
    PlannedConversion,
)
from forgather_convert.errors import UnsupportedModelError
from forgather_convert.families.extensions import ExtensionCalls
from forgather_convert.models.opening import ModelRequest, open_model
from forgather_convert.options import ConvertOptions
from forgather_convert.planning.plan import ConversionPlan, ShardPlan
from forgather_convert.planning.request import PlanRequest
from forgather_convert.progress import Phase, Progress
from forgather_convert.source.detection import Direction


@dataclass(frozen=True)
class AdapterConversion(Conversion):
    """The conversion of an adapter.

    Attributes:
        adapter: The adapter.
        base: The input for planning its base model's conversion.
    """

    adapter: AdapterDirectory
    base: PlanRequest

    @property
    def extension_calls(self) -> ExtensionCalls:
        return self.base.model.extension_calls

    @property
    def title(self) -> str:
        is_original = self.base.detection.direction is Direction.TO_FORGATHER
        return f"Converting an adapter to {'Forgather' if is_original else 'Hugging Face'}"

    def early_shards(self) -> tuple[ShardPlan, ...]:
        # Adapters are small.
        return ()

    def plan(self) -> PlannedConversion:
        planned = plan_adapter(self.adapter, self.base)
        return _PlannedAdapterConversion(planned, self.base.options)


def open_adapter_conversion(request: ConversionRequest, base: Path) -> AdapterConversion:
    """Opens an adapter to convert, and its base model.

    Raises:
        ForgatherConvertError: It cannot be converted, or not to that destination.
    """
    refuse_options_of_models(request.options)
    adapter = read_adapter(request.source)
    request.check_destination()
    options = options_of_base(request.options, base)
    model = open_model(ModelRequest(base, options, request.converter))
    if model.hooks.is_composite:
        raise UnsupportedModelError(
            f"{base} is a composite ('{model.hooks.model_type}'), for which adapters cannot be "
            "converted. Merge the adapter into the model, and convert the merged model."
        )
    return AdapterConversion(adapter, PlanRequest(model, request.destination.given, tokens=None))


@dataclass(frozen=True)
class _PlannedAdapterConversion(PlannedConversion):
    planned: PlannedAdapter
    options: ConvertOptions

    @property
    def plan(self) -> ConversionPlan:
        return self.planned.plan

    def check(self, written: Path, progress: Progress) -> Checks:
        if not self.options.logit_check:
            return Checks()
        progress.start(Phase.CHECK)
        adapter = self.plan.source
        models = self.planned.models
        return Checks(logits=logit_check.check_adapter(models, adapter, written, self.options))
