"""The arguments for a cache in the installed transformers."""

import inspect

from transformers.masking_utils import create_causal_mask

_PARAMETERS = inspect.signature(create_causal_mask).parameters
#: The name of a cache in arguments and outputs.
CACHE = "cache" if "cache" in _PARAMETERS else "past_key_values"
#: Whether the position in the cache must be passed; since version 5, caches know it.
NEEDS_CACHE_POSITION = "cache_position" in _PARAMETERS
