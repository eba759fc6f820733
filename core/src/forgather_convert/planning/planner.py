"""Makes the plan of a conversion."""

from forgather_convert.planning.from_forgather import plan_from_forgather
from forgather_convert.planning.request import PlannedConversion, PlanRequest
from forgather_convert.planning.to_forgather import plan_to_forgather
from forgather_convert.source.detection import Direction


def plan_conversion(request: PlanRequest) -> PlannedConversion:
    """Plans a conversion completely; nothing is written.

    Raises:
        ForgatherConvertError: It is not possible, with what stands in the way.
    """
    if request.detection.direction is Direction.TO_FORGATHER:
        return plan_to_forgather(request)
    return plan_from_forgather(request)
