"""What torchrun tells a process that it starts."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from forgather_convert.errors import OptionError

_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Rank:
    """Which of how many processes this one is; the first has the number 0."""

    number: int
    count: int


def rank_of_environment(environment: Mapping[str, str] = os.environ) -> Rank | None:
    """What torchrun says of this process; ``None`` if it is alone.

    Raises:
        OptionError: A variable makes no sense.
    """
    if not all(environment.get(name) for name in _VARIABLES):
        return None
    number, count = environment["RANK"], environment["WORLD_SIZE"]
    if not (number.isdecimal() and count.isdecimal() and int(number) < int(count)):
        raise OptionError(
            f"RANK is '{number}' and WORLD_SIZE is '{count}' in the environment, which is not what "
            "torchrun sets. Unset them to convert with one process."
        )
    return Rank(int(number), int(count)) if int(count) > 1 else None
