"""The import path under which converters know this library.

It lies in a directory without ``__init__.py``, beside whatever else is installed as
``forgather``. Where the Forgather framework is installed, its package of the same name hides it;
converter files get this library's names all the same (``discovery/converter_imports.py``).
"""

from forgather_convert.model_conversion import *  # noqa: F403
from forgather_convert.model_conversion import __all__ as __all__
