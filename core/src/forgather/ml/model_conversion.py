"""The import path under which converters know this library.

It lies in a directory without ``__init__.py``, beside whatever else is installed as
``forgather``.
"""

from forgather_convert import HFConverter, SourceConfig, register_converter

__all__ = ["HFConverter", "SourceConfig", "register_converter"]
