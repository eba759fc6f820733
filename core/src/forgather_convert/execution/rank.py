"""The variables that torchrun sets for each process it starts."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from forgather_convert.errors import OptionError

_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Rank:
    """The number of this process, counted from 0, and how many there are."""

    number: int
    count: int


def rank_of_environment(environment: Mapping[str, str] = os.environ) -> Rank | None:
    """Reads the rank of this process from the environment; ``None`` if it is the only one.

    Raises:
        OptionError: A variable has an invalid value.
    """
    if not all(environment.get(name) for name in _VARIABLES):
        return None
    number, count = environment["RANK"], environment["WORLD_SIZE"]
    if not (number.isdecimal() and count.isdecimal() and int(number) < int(count)):
        raise OptionError(
            f"The environment variables RANK='{number}' and WORLD_SIZE='{count}' are not values "
            "that torchrun sets. Unset them to convert with one process."
        )
    return Rank(int(number), int(count)) if int(count) > 1 else None
