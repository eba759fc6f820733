"""A stand-in for a module that only the framework has."""

STANDARD_HF_TO_FORGATHER = {"hidden_size": "hidden_size"}
