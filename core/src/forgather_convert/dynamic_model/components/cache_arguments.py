"""How the installed transformers speaks of a cache."""

import inspect

from transformers.masking_utils import create_causal_mask

_PARAMETERS = inspect.signature(create_causal_mask).parameters
#: What a cache is called, in arguments and in outputs.
CACHE = "cache" if "cache" in _PARAMETERS else "past_key_values"
#: Whether it must be told where in the cache a sequence begins; since version 5, caches know.
NEEDS_CACHE_POSITION = "cache_position" in _PARAMETERS
