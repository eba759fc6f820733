"""What a conversion does to the fields of a config."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ConfigField:
    """A field of the source's config, of the destination's, or of both.

    Attributes:
        source: Its name in the source's config; ``None`` if only the destination has it.
        source_value: Its value there; ``None`` without a name.
        destination: Its name in the destination's config; ``None`` if that does not have it.
        value: Its value there; ``None`` without a name.
    """

    source: str | None
    source_value: Any
    destination: str | None
    value: Any

    @property
    def is_changed(self) -> bool:
        """Whether both configs have the field, with different values."""
        return (
            self.source is not None
            and self.destination is not None
            and self.source_value != self.value
        )


def match_config_fields(
    source: Mapping[str, Any], destination: Mapping[str, Any], names: Mapping[str, str]
) -> tuple[ConfigField, ...]:
    """Puts the fields of two configs side by side: the source's in their order, then new ones.

    Args:
        source: The source's config.
        destination: The destination's config.
        names: The names of the source's fields in the destination, where they differ.
    """
    return tuple(_fields(source, destination, names))


def _fields(
    source: Mapping[str, Any], destination: Mapping[str, Any], names: Mapping[str, str]
) -> Iterator[ConfigField]:
    matched = set()
    for name, value in source.items():
        other = names.get(name, name)
        matched.add(other)
        if other in destination:
            yield ConfigField(name, value, other, destination[other])
        else:
            yield ConfigField(name, value, None, None)
    for name, value in destination.items():
        if name not in matched:
            yield ConfigField(None, None, name, value)
