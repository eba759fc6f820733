"""What transformers may do with a model, as class attributes of its model class say."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Capabilities:
    """The attributes of a :class:`transformers.PreTrainedModel` class that a family decides.

    Attributes:
        supports_sdpa: Attention by ``torch.nn.functional.scaled_dot_product_attention``.
        supports_flash_attn: Attention by the flash-attention library.
        supports_flex_attn: Attention by ``torch.nn.attention.flex_attention``.
        supports_attention_backend: Attention by functions that others register.
    """

    supports_sdpa: bool = True
    supports_flash_attn: bool = True
    supports_flex_attn: bool = True
    supports_attention_backend: bool = True

    @classmethod
    def of(cls, model_class: Any) -> "Capabilities":
        """Those of a class in transformers."""
        names = cls().attributes()
        return cls.from_attributes({name: getattr(model_class, name, False) for name in names})

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> "Capabilities":
        """From class attributes by their names; those that are absent are as in the default."""
        known = cls().attributes()
        return cls(
            **{
                name.removeprefix("_"): bool(value)
                for name, value in attributes.items()
                if name in known
            }
        )

    def attributes(self) -> dict[str, bool]:
        """The names and values of the class attributes."""
        return {f"_{each.name}": getattr(self, each.name) for each in fields(self)}
