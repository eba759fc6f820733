"""What a conversion plans before its models are known."""

from pathlib import Path
from typing import Any

import pytest

from forgather_convert import ConvertOptions
from forgather_convert.api import run
from forgather_convert.conversion.conversion import ConversionRequest
from forgather_convert.planning import early_weights
from forgather_convert.planning.plan import ConversionPlan
from forgather_convert.planning.request import PlanRequest
from forgather_convert.planning.weights import WeightsPlan


def planned_early(
    monkeypatch: pytest.MonkeyPatch,
    source: Path,
    destination: Path,
    options: ConvertOptions,
    **arguments: Any,
) -> tuple[WeightsPlan | None, ConversionPlan]:
    """Converts; gives what was planned early, which is done once, and the plan."""
    early: list[WeightsPlan | None] = []
    plans: list[ConversionPlan] = []
    make = early_weights.plan_early_weights

    def note(request: PlanRequest) -> WeightsPlan | None:
        early.append(make(request))
        return early[-1]

    with monkeypatch.context() as patches:
        patches.setattr(early_weights, "plan_early_weights", note)
        request = ConversionRequest.of(source, destination, options, **arguments)
        run(request, on_plan=plans.append)
    (only,) = early
    return only, plans[0]
