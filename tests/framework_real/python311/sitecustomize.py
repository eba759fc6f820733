"""Lets Python 3.11 run the framework, which is written for 3.12: it imports one name more."""

import typing

if not hasattr(typing, "override"):
    from typing_extensions import override

    typing.override = override  # type: ignore[attr-defined]
