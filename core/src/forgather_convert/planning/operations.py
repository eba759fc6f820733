"""What happens to a tensor's bytes on their way."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Move:
    """The bytes stay as they are."""

    def describe(self) -> str:
        return "move"


@dataclass(frozen=True)
class Cast:
    """Every element is rounded to another dtype."""

    dtype: str

    def describe(self) -> str:
        return f"cast to {self.dtype}"


@dataclass(frozen=True)
class Literal:
    """Bytes that the plan itself holds."""

    data: bytes

    def describe(self) -> str:
        return "restore"


Operation = Move | Cast | Literal
