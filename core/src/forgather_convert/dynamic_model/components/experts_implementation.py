"""How the installed transformers computes experts.

transformers 5 has the experts of a layer in one parameter, and computes them as the config selects:
in a loop (eager), or all in one call. transformers 4 has separate experts and a loop.
"""

import inspect
from collections.abc import Callable
from typing import Any

import transformers
from transformers import integrations

_DECORATOR = getattr(integrations, "use_experts_implementation", None)
HAS_STACKED_EXPERTS = _DECORATOR is not None
_VERSION = tuple(map(int, transformers.__version__.split(".")[:2]))
#: Whether routers return float32 probabilities instead of logits.
LOGITS_ARE_PROBABILITIES = (5, 0) <= _VERSION < (5, 6)
#: The score of experts that cannot be chosen because their group was not.
CLOSED_SCORE = float("-inf") if _VERSION >= (5, 6) else 0.0


def use_experts_implementation(**options: bool) -> Callable[[Any], Any]:
    """Lets transformers 5 choose how a class of experts computes; does nothing in version 4.

    The options describe the layout of the parameters, like those of transformers' decorator of the
    same name.
    """

    def decorate(experts_class: Any) -> Any:
        if _DECORATOR is None:
            return experts_class
        known = inspect.signature(_DECORATOR).parameters
        return _DECORATOR(
            experts_class, **{name: value for name, value in options.items() if name in known}
        )

    return decorate
